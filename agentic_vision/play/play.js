// Sends the question, and shows what comes back, a line of JSON at a time (see updates.py). HTML from the server is
// escaped there; whatever else is said is put into the page as text.
"use strict";

const at = (id) => document.getElementById(id);
const form = at("form"), file = at("file"), preview = at("preview"), question = at("question");
let chosen = null; // { file } or { example }
let asking = null; // what aborts the question that is under way

function say(error) {
  at("error").hidden = !error;
  at("error").textContent = error;
}

function show(name, address) {
  if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
  preview.hidden = false;
  preview.src = address;
  at("dropped").textContent = name;
  for (const button of document.querySelectorAll(".example")) {
    button.setAttribute("aria-pressed", String(button.dataset.name === chosen.example));
  }
  say("");
}

function choose(picture) {
  if (!picture) return;
  if (picture.size > Number(form.dataset.mostBytes)) {
    say(`${picture.name} has more than ${Number(form.dataset.mostBytes).toLocaleString()} bytes: give a smaller copy of it`);
    return;
  }
  chosen = { file: picture };
  show(picture.name, URL.createObjectURL(picture));
}

// A picture that the browser cannot show may still be one that the agent can read.
preview.addEventListener("error", () => { preview.hidden = true; });
file.addEventListener("change", () => { choose(file.files[0]); file.value = ""; });
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // or a picture dropped beside the field would replace the page
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choose(event.dataTransfer.files[0]);
  });
}
for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => {
    chosen = { example: button.dataset.name };
    question.value = button.dataset.question;
    show(`${button.dataset.name}.png`, button.querySelector("img").src);
  });
}
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
at("stop").addEventListener("click", () => asking && asking.abort());

function base64(picture) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${picture.name} cannot be read: choose it again`));
    reader.readAsDataURL(picture);
  });
}

function lane(name) {
  let found = at(`lane-${name}`);
  if (!found) {
    found = Object.assign(document.createElement("section"), { className: "lane", id: `lane-${name}` });
    at("lanes").append(found);
    // On a small screen the form fills it all.
    if (found.getBoundingClientRect().top > 0.6 * innerHeight) found.scrollIntoView({ behavior: "smooth" });
  }
  return found;
}

// What the model is writing, after the steps that are done; the lane's next HTML takes its place.
function write(steps, piece) {
  let live = steps.querySelector(".live");
  if (!live) {
    live = Object.assign(document.createElement("li"), { className: "live" });
    const said = Object.assign(document.createElement("blockquote"), { className: "thought", dir: "auto" });
    live.append(Object.assign(document.createElement("h3"), { textContent: "Writing …" }), said);
    live.dataset.raw = "";
    steps.append(live);
  }
  live.dataset.raw += piece;
  live.lastChild.textContent = live.dataset.raw.replace(/<\/?think>/g, "");
}

function apply(update) {
  if (update.error) say(update.error);
  if (update.comparison) {
    at("comparison").hidden = false;
    at("comparison").innerHTML = update.comparison;
  }
  if (update.html !== undefined) lane(update.lane).innerHTML = update.html;
  if (update.text !== undefined) write(lane(update.lane).querySelector(".steps"), update.text);
}

// `last`: the kind of update with which it ends, where it does not end with an error.
async function follow(response, last) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const update = JSON.parse(line);
      apply(update);
      ended ||= Boolean(update.error || update[last]);
    }
  }
  if (!ended) throw new Error("The question broke off: what runs agentic-vision play says more");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (asking) return;
  say("");
  asking = new AbortController();
  at("lanes").replaceChildren();
  at("comparison").hidden = true;
  at("ask").disabled = true;
  at("stop").hidden = false;
  at("status").textContent = "Looking …";
  try {
    const body = {
      question: question.value,
      tools: [...document.querySelectorAll("[name=tool]:checked")].map((box) => box.value),
      compare: at("compare").checked,
    };
    if (chosen && chosen.example) body.example = chosen.example;
    if (chosen && chosen.file) Object.assign(body, { picture: await base64(chosen.file), name: chosen.file.name });
    const response = await fetch("/ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: asking.signal,
    });
    if (response.ok) await follow(response, body.compare ? "comparison" : "done");
    else if (response.status === 413) say("The picture is larger than is let in: give a smaller copy of it");
    else say((await response.json()).error);
    at("status").textContent = "";
  } catch (error) {
    const stopped = error.name === "AbortError";
    at("status").textContent = stopped ? "Stopped." : "";
    if (!stopped) say(error instanceof TypeError ? "The page's server does not answer: is agentic-vision play still running?" : error.message);
  } finally {
    asking = null;
    at("ask").disabled = false;
    at("stop").hidden = true;
  }
});
