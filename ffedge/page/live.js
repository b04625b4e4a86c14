// Takes the page anew every second, or less often where that costs the run more than a part of twenty; once nobody answers, what it showed last stays, and says so.
"use strict";
const parser = new DOMParser();

async function renew() {
  try {
    const began = performance.now();
    const text = await (await fetch("/")).text();
    const main = parser.parseFromString(text, "text/html").querySelector("main");
    document.querySelector("main").replaceWith(main);
    setTimeout(renew, Math.max(1000, 20 * (performance.now() - began)));
  } catch {
    const line = document.createElement("p");
    line.className = "lacking";
    line.textContent = "The run has ended or was stopped. This is where it stood. ffedge report RUN --html shows all of it.";
    document.querySelector("main").prepend(line);
  }
}
setTimeout(renew, 1000);
