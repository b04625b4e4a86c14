// Makes the demo's page by what is known of the model: something to ask with, what is said, and a way to correct it.
"use strict";
const demo = document.getElementById("demo");
const about = JSON.parse(demo.dataset.about);

function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function post(path, value) {
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(value) });
    return await answer.json();
  } catch {
    return { error: "Nobody answers: ffedge demo has ended." };
  }
}

// What an input is made with: the element, what reads it and what fills it in; it calls `asks` where it has changed.
function picture([height, width, channels]) {
  const canvas = el("canvas", { width, height, className: "pad" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const dark = el("input", { type: "checkbox" });
  const clear = () => {
    pen.fillStyle = dark.checked ? "#fff" : "#000";
    pen.fillRect(0, 0, width, height);
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  };
  let last = null;
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    draw(event);
  };
  const draw = (event) => {
    const now = at(event);
    Object.assign(pen, { lineWidth: Math.max(height, width) / 13, lineCap: "round" });
    pen.strokeStyle = dark.checked ? "#000" : "#fff";
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...now);
    pen.stroke();
    last = now;
  };
  canvas.onpointermove = (event) => last && draw(event);
  canvas.onpointerup = canvas.onpointercancel = () => {
    last = null;
    asks();
  };
  const file = el("input", { type: "file", accept: "image/*" });
  file.onchange = async () => {
    try {
      const bitmap = await createImageBitmap(file.files[0]);
      clear();
      pen.imageSmoothingQuality = "high";
      pen.drawImage(bitmap, 0, 0, width, height);
      asks();
    } catch {
      say({ error: "This file is no picture that the browser can read." });
    }
  };
  const again = el("button", { textContent: "Clear", onclick: () => (clear(), reset()) });
  dark.onchange = again.onclick;
  clear();
  const tools = el("p", { className: "tools" }, again, el("label", {}, dark, " dark on light"), file);
  const read = () => {
    const { data } = pen.getImageData(0, 0, width, height);
    const bytes = [];
    for (let i = 0; i < data.length; i += 4) {
      if (channels >= 3) bytes.push(...data.subarray(i, i + channels));
      else bytes.push(Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]));
    }
    return bytes;
  };
  const write = (bytes) => {
    const shown = pen.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      const pixel = channels >= 3 ? bytes.slice(i * channels, i * channels + 3) : Array(3).fill(bytes[i]);
      shown.data.set([...pixel, channels === 4 ? bytes[i * channels + 3] : 255], 4 * i);
    }
    pen.putImageData(shown, 0, 0);
  };
  return [el("div", {}, canvas, tools), read, write];
}

function form(columns) {
  const fields = columns.map(({ name, categories, fill }) => {
    if (!categories.length) return el("input", { name, value: fill, inputMode: "decimal", placeholder: "missing" });
    const options = [...categories, ""].map((text) => new Option(text || "missing", text));
    return el("select", { name }, ...options);
  });
  const rows = fields.map((field) => el("label", { className: "field", oninput: asks }, field.name, field));
  setTimeout(asks);
  const read = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));
  const write = (values) => fields.forEach((field) => (field.value = values[field.name]));
  return [el("div", { className: "form" }, ...rows), read, write];
}

function numbers(count) {
  const label = `${count.toLocaleString()} numbers, with spaces or commas between`;
  const text = el("textarea", { rows: 6, placeholder: label, ariaLabel: label, oninput: asks });
  const write = (values) => (text.value = values.join(" "));
  return [text, () => text.value.trim().split(/[\s,;]+/).map(Number), write];
}

// What is said
function bar(value, least, most, text) {
  const share = most > least ? Math.max(0, (value - least) / (most - least)) : 0;
  const mark = el("i", { className: "share" });
  mark.style.width = `${(100 * share).toFixed(1)}%`;
  return el("td", {}, el("div", { className: "cell" }, mark, el("span", { textContent: text })));
}

function table(title, answer) {
  const { classes, known, odd } = answer;
  const layers = classes[0].goodness.map((_, layer) => classes.map((c) => c.goodness[layer]));
  const shares = classes[0].share !== null;
  const scores = classes.map((c) => c.score);
  const heads = ["", shares ? "probability" : "score", ...layers.map((_, layer) => `layer ${layer}`)];
  const rows = classes.map((c, i) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", textContent: c.name }),
      shares
        ? bar(c.share, 0, 1, `${(100 * c.share).toFixed(1)} %`)
        : bar(c.score, Math.min(0, ...scores), Math.max(...scores), c.score.toPrecision(3)),
      ...layers.map((all) => bar(all[i], Math.min(0, ...all), Math.max(...all), all[i].toPrecision(3))),
    ),
  );
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col", textContent: text })));
  const why = odd ? `, but the input is odd: ${odd}` : known ? "" : ", but is not sure: it knows nothing quite like this";
  const said = el("p", { className: "said" }, `${title} says `, el("b", { textContent: answer.label }), why);
  return el("div", {}, said, el("div", { className: "wide" }, el("table", { className: "bars" }, head, ...rows)));
}

const said = el("div", { id: "said", ariaLive: "polite" });
const note = el("p", { className: "lacking", textContent: about.note, hidden: !about.note });
const right = el("select", { id: "right", ariaLabel: "what it is" }, ...about.classes.map((name) => new Option(name)));
const teach = el("button", { textContent: "Teach it" });
const learnt = el("p", { id: "learnt" });
const correct = el("p", { id: "correct", hidden: true }, "It is ", right, " ", teach);
let count = 0;

function reset() {
  count++;
  said.replaceChildren();
  learnt.textContent = "";
  correct.hidden = true;
}

function say(answer) {
  if (answer.error) {
    said.replaceChildren(el("p", { className: "lacking", textContent: answer.error }));
    return;
  }
  const now = answer.now ? [table(`What has learnt here (${answer.corrections})`, answer.now)] : [];
  said.replaceChildren(...now, table("The model in the file", answer.file));
  if (correct.hidden) right.value = (answer.now || answer.file).label;
  correct.hidden = !about.learns;
}

async function asks() {
  const mine = ++count;
  const answer = await post("/ask", { input: read() });
  if (mine === count) {
    learnt.textContent = "";
    correct.hidden = true;
    say(answer);
  }
}

teach.onclick = async () => {
  teach.disabled = true;
  const mine = ++count;
  const answer = await post("/learn", { input: read(), label: right.value });
  teach.disabled = false;
  if (mine !== count) return;
  say(answer);
  if (!answer.error) {
    const steps = answer.steps === 1 ? "one step" : `${answer.steps} steps`;
    const taken = answer.now.label === right.value ? "it says so, too" : `it still says ${answer.now.label}; teach it again`;
    learnt.textContent = `After ${steps} ${taken}. ${answer.saved}`;
  }
};

const example = el("button", { textContent: "An example", hidden: !about.examples });
example.onclick = async () => {
  const found = await post("/example", {});
  if (found.error) return say(found);
  write(found.input);
  await asks();
  right.value = found.label;
  learnt.textContent = `A kept example; it is ${found.label}.`;
};

const [input, read, write] = about.columns ? form(about.columns) : about.size ? picture(about.size) : numbers(about.inputs);
const left = el("div", {}, input, el("p", {}, example));
demo.replaceChildren(note, el("div", { className: "demo" }, left, el("div", {}, correct, learnt, said)));
