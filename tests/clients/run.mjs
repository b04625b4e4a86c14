// node run.mjs onnxruntime-node|onnxruntime-web <jobs.json: runs model files, writes their outputs as raw values.
// A job: {model, input, type, shape, batches, out}; the answer, a line a job: {name: {type, dims}} or {error}.
import { readFileSync, writeFileSync } from "node:fs";

const engine = process.argv[2];
const ort = await import(engine);
const arrays = { uint8: Uint8Array, float32: Float32Array, float64: Float64Array };

async function run({ model, input, type, shape, batches, out }) {
  const session = await ort.InferenceSession.create(readFileSync(model));
  const values = new arrays[type](new Uint8Array(readFileSync(input)).buffer);
  const size = shape.reduce((a, b) => a * b, 1);
  const parts = {};
  let at = 0;
  for (const rows of batches) {
    const batch = values.subarray(at * size, (at + rows) * size);
    const found = await session.run({ input: new ort.Tensor(type, batch, [rows, ...shape]) });
    for (const [name, tensor] of Object.entries(found)) (parts[name] ??= []).push(tensor);
    at += rows;
  }
  await session.release();
  const told = {};
  for (const [name, tensors] of Object.entries(parts)) {
    const bytes = tensors.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    writeFileSync(`${out}.${name}`, Buffer.concat(bytes));
    told[name] = { type: tensors[0].type, dims: [at, ...tensors[0].dims.slice(1)] };
  }
  return told;
}

for (const job of JSON.parse(readFileSync(0, "utf8"))) {
  const told = await run(job).catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify(told));
}
