"use strict";

// Open pages hear of changes and load what they show again.
const stream = document.body.dataset.live;
if (stream) {
  const events = new EventSource(stream);
  for (const name of ["changed", "progress"]) {
    events.addEventListener(name, () => htmx.trigger(document.body, name));
  }
  addEventListener("pagehide", () => events.close());
}

// Before and after: a slider, a drag on the picture, a key that flips between the two.
function compare(box) {
  const stage = box.querySelector(".stage");
  const frame = box.querySelector(".frame");
  const range = box.querySelector("input[type=range]");
  const flip = box.querySelector("[data-flip]");
  const zoom = box.querySelector("[data-zoom]");

  const show = (percent) => {
    range.value = percent;
    stage.style.setProperty("--cut", `${range.value}%`);
    flip.setAttribute("aria-pressed", String(Number(range.value) === 100));
  };
  const at = (event) => {
    const area = stage.getBoundingClientRect();
    show((100 * (event.clientX - area.left)) / area.width);
  };
  range.addEventListener("input", () => show(range.value));
  flip.addEventListener("click", () => show(Number(range.value) === 100 ? 0 : 100));
  zoom.addEventListener("click", () => {
    const whole = frame.classList.toggle("whole");
    zoom.setAttribute("aria-pressed", String(whole));
    if (whole) frame.scrollTo((frame.scrollWidth - frame.clientWidth) / 2, (frame.scrollHeight - frame.clientHeight) / 3);
  });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || frame.classList.contains("whole")) return;
    stage.setPointerCapture(event.pointerId);
    at(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) at(event);
  });
  show(range.value);
}

// A strength is one of the mode that is chosen: without one, all is as before.
function redo(form) {
  const { mode, strength } = form.elements;
  const show = () => {
    strength.disabled = mode.value === "";
    const text = strength.disabled ? "as before" : `${strength.value} %`;
    form.querySelector("[data-shown]").textContent = text;
    strength.setAttribute("aria-valuetext", text);
  };
  form.addEventListener("input", show);
  show();
}

function prepare(part) {
  part.querySelectorAll("[data-compare]").forEach(compare);
  part.querySelectorAll("[data-redo]").forEach(redo);
}
prepare(document);
htmx.onLoad((part) => {
  if (part !== document.body) prepare(part); // that was prepared above
});

// One key for what one does often; not while something is typed, nor together with other keys.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input:not([type=range]), select, textarea")) return;
  const target = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (target) {
    event.preventDefault();
    target.click();
  }
});

// What cannot be taken back is asked once more.
addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
