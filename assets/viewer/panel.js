// Controls below the 3D view.
export const WITH_CAMERA = -1;
const PARTS = [["whole", "Whole body"], ["face", "Face"], ["left_hand", "Left hand"], ["right_hand", "Right hand"]];

export function buildPanel(viewer) {
  const { data, options } = viewer;
  const panel = element("div", { className: "aios-viewer-panel" });
  const people = [[0, "Everyone"], [WITH_CAMERA, "Everyone and camera"], ...data.people.map((person) => [person.number, person.name])];
  const person = choice("Look at", people, (value) => viewer.set("person", Number(value)));
  const part = choice("Close-up", PARTS, (value) => viewer.set("part", value));
  const lens = button("Camera view", () => viewer.lookThroughCamera());
  const turn = button("Turntable", () => {
    viewer.leaveCamera();
    viewer.set("turn", !options.turn);
    viewer.show();
  });
  const reset = button("Reset view", () => viewer.reset());
  const floor = checkbox(`Floor (${viewer.cell} m grid)`, (value) => viewer.set("floor", value));
  const camera = checkbox(data.video ? "Camera and video" : "Camera and photo", (value) => viewer.set("camera", value));
  const wireframe = checkbox("Wireframe", (value) => viewer.set("wireframe", value));
  const opacity = range("Opacity", 0.1, 1, 0.05, (value) => viewer.set("opacity", value));
  panel.append(
    ...(data.seconds ? [playback(viewer)] : []),
    row(person.label, part.label, lens, turn, reset),
    row(floor.label, camera.label, wireframe.label, opacity.label),
  );
  const showChoices = () => {
    const { options } = viewer;
    person.input.value = options.person === WITH_CAMERA || viewer.selected() ? options.person : 0;
    part.input.value = options.part;
    part.input.disabled = Number(person.input.value) < 1;
    floor.input.checked = options.floor;
    camera.input.checked = options.camera;
    wireframe.input.checked = options.wireframe;
    opacity.input.value = options.opacity;
    turn.setAttribute("aria-pressed", String(options.turn));
    for (const update of updates) update();
  };
  const updates = panel.querySelector("[data-player]") ? [() => showTime(viewer, panel)] : [];
  viewer.show = showChoices;
  person.input.addEventListener("change", showChoices);
  showChoices();
  return panel;
}

function playback(viewer) {
  const play = button("Play", () => viewer.play(!viewer.playing));
  play.dataset.player = "play";
  const time = range("Time", 0, viewer.data.seconds, 0.001, (value) => {
    viewer.play(false);
    viewer.seek(value);
  });
  time.input.dataset.player = "time";
  time.label.classList.add("aios-viewer-time");
  return row(play, time.label, element("output", {}));
}

function showTime(viewer, panel) {
  panel.querySelector("[data-player=play]").innerText = viewer.playing ? "Pause" : "Play";
  panel.querySelector("[data-player=time]").value = viewer.time;
  panel.querySelector("output").innerText = `${viewer.time.toFixed(1)} / ${viewer.data.seconds.toFixed(1)} s`;
}

function element(name, values, ...children) {
  const made = Object.assign(document.createElement(name), values);
  made.append(...children);
  return made;
}

function row(...children) {
  return element("div", { className: "aios-viewer-row" }, ...children);
}

function button(text, onclick) {
  return element("button", { type: "button", innerText: text, onclick });
}

function choice(name, pairs, set) {
  const input = element("select", { onchange: () => set(input.value) });
  for (const [value, text] of pairs) input.append(element("option", { value, innerText: text }));
  return { input, label: element("label", {}, name, input) };
}

function checkbox(name, set) {
  const input = element("input", { type: "checkbox", onchange: () => set(input.checked) });
  return { input, label: element("label", {}, input, name) };
}

function range(name, min, max, step, set) {
  const input = element("input", { type: "range", min, max, step, oninput: () => set(Number(input.value)) });
  return { input, label: element("label", {}, name, input) };
}
