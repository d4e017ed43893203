// 3D view of the people of a photo or a video, with floor, camera, photo, close-ups and playback.
//
// `start(element)` reads the JSON of `data-scene`, which `aios/page/scene_view.py` writes. Metres, y up.
import {
  Box3, BufferGeometry, Color, DirectionalLight, DoubleSide, Float32BufferAttribute, GridHelper, Group, HemisphereLight, LineBasicMaterial,
  LineSegments, Mesh, MeshBasicMaterial, PerspectiveCamera, SRGBColorSpace, Scene, TextureLoader, Vector3, VideoTexture, WebGLRenderer,
  OrbitControls,
} from "./three.min.js";
import { loadPeople } from "./people.js";
import { WITH_CAMERA, buildPanel } from "./panel.js";

const FIELD_OF_VIEW = 45;
const START_DIRECTION = new Vector3(0.42, 0.28, 1).normalize();
const SIDE_DIRECTION = new Vector3(1, 0.4, 0.6).normalize();
const TURNS_PER_SECOND = 1 / 12;
const COLORS = { light: ["#eef0f4", "#9aa3b2"], dark: ["#20232a", "#5b6472"] };
const MAX_DRIFT_SECONDS = 0.15;

// What the visitor chose survives a new scene of the same photo, such as another selected person.
const chosen = new Map();

export async function start(element) {
  const scene = JSON.parse(element.dataset.scene);
  const viewer = new Viewer(element, scene);
  await viewer.load();
}

class Viewer {
  constructor(element, data) {
    this.element = element;
    this.data = data;
    const before = chosen.get(data.key);
    this.options = before?.options ?? { person: 0, part: "whole", floor: true, camera: true, wireframe: false, opacity: 1, turn: false, inside: false };
    this.time = before?.time ?? 0;
    this.playing = false;
    this.box = new Box3(new Vector3(...data.box[0]), new Vector3(...data.box[1]));
    this.size = this.box.getSize(new Vector3());
    this.cell = Math.max(this.size.x, this.size.z) > 50 ? 10 : 1;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `3D view of ${data.people.length === 1 ? "1 person" : `${data.people.length} people`}`);
    element.replaceChildren(this.canvas, buildPanel(this));
    this.renderer = new WebGLRenderer({ canvas: this.canvas, antialias: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.scene = new Scene();
    this.eye = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.02, 2000);
    this.controls = new OrbitControls(this.eye, this.canvas);
    this.controls.addEventListener("change", () => this.draw());
    this.controls.addEventListener("start", () => this.leaveCamera());
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.addSurroundings();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    if (before) this.restore(before);
    else this.aim();
  }

  async load() {
    const { photo } = this.data;
    const [people, texture] = await Promise.all([loadPeople(this.data), photo && new TextureLoader().loadAsync(photo)]);
    this.people = people;
    if (texture) this.showPicture(texture);
    for (const person of this.people) this.scene.add(person.object);
    this.apply();
    this.seek(this.time);
    this.element.dataset.ready = "true";
  }

  addSurroundings() {
    const [background, line] = COLORS[document.body.classList.contains("dark") ? "dark" : "light"];
    this.scene.background = new Color(background);
    this.scene.add(new HemisphereLight("#ffffff", "#8a8f99", 2.2));
    const sun = new DirectionalLight("#ffffff", 1.8);
    sun.position.set(-1, 2, 1.5);
    this.scene.add(sun);
    const size = this.size, middle = this.box.getCenter(new Vector3());
    const cells = 2 * Math.ceil((Math.max(size.x, size.z) / this.cell + 3) / 2);
    this.floor = new GridHelper(cells * this.cell, cells, line, line);
    this.floor.position.set(middle.x, this.box.min.y, middle.z);
    this.scene.add(this.floor);
    this.addCamera(line);
  }

  // Frustum of the photo's camera with the photo in it.
  addCamera(line) {
    const { position, rotation, width, height, focal, principal } = this.data.camera;
    this.lens = new Vector3(...position);
    const corners = [[0, 0], [width, 0], [width, height], [0, height]]
      .map(([x, y]) => [(x - principal[0]) / focal, -(y - principal[1]) / focal, -1]);
    const plane = new BufferGeometry();
    plane.setAttribute("position", new Float32BufferAttribute(corners.flat(), 3));
    plane.setAttribute("uv", new Float32BufferAttribute([0, 1, 1, 1, 1, 0, 0, 0], 2));
    plane.setIndex([0, 3, 2, 0, 2, 1]);
    this.photo = new Mesh(plane, new MeshBasicMaterial({ side: DoubleSide, toneMapped: false }));
    const edges = corners.flatMap((corner, index) => [[0, 0, 0], corner, corner, corners[(index + 1) % 4]]);
    const lines = new BufferGeometry();
    lines.setAttribute("position", new Float32BufferAttribute(edges.flat(), 3));
    this.frustum = new LineSegments(lines, new LineBasicMaterial({ color: "#6366f1" }));
    this.pyramid = new Group();
    this.pyramid.add(this.photo, this.frustum);
    this.pyramid.position.copy(this.lens);
    this.pyramid.quaternion.fromArray(rotation);
    this.forward = new Vector3(0, 0, -1).applyQuaternion(this.pyramid.quaternion);
    this.scene.add(this.pyramid);
    if (this.data.video) this.addVideo();
  }

  addVideo() {
    this.film = document.createElement("video");
    Object.assign(this.film, { src: this.data.video, muted: true, playsInline: true, preload: "auto" });
    for (const type of ["loadeddata", "seeked"]) this.film.addEventListener(type, () => this.draw());
    this.showPicture(new VideoTexture(this.film));
  }

  showPicture(texture) {
    texture.colorSpace = SRGBColorSpace;
    this.photo.material.map = texture;
    this.photo.material.needsUpdate = true;
  }

  // Distance of the photo: behind everyone when seen through the camera, else close to the camera.
  placePhoto() {
    const depths = [this.box.min, this.box.max].flatMap(({ x }) => [this.box.min, this.box.max].flatMap(({ y }) => [this.box.min, this.box.max]
      .map(({ z }) => new Vector3(x, y, z).sub(this.lens).dot(this.forward))));
    const nearest = Math.min(...depths), farthest = Math.max(...depths);
    const depth = this.options.inside ? 1.05 * Math.max(farthest, 1) : Math.min(Math.max(0.4 * nearest, 0.3), 2);
    this.pyramid.scale.setScalar(depth);
    this.pyramid.visible = this.options.camera || this.options.inside;
    this.frustum.visible = !this.options.inside;
  }

  // Apply the options of the panel.
  apply() {
    const { floor, wireframe, opacity, inside } = this.options;
    this.floor.visible = floor && !inside;
    for (const person of this.people ?? []) person.style(opacity, wireframe);
    this.placePhoto();
    this.animate();
    this.draw();
  }

  set(name, value) {
    this.options[name] = value;
    if (["person", "part"].includes(name)) {
      this.options.inside = false;
      this.aim();
    }
    this.apply();
  }

  // Look at the person and part of the options, or at everyone.
  aim() {
    const target = this.target();
    const direction = target.direction ?? START_DIRECTION;
    const fit = target.radius / Math.sin((FIELD_OF_VIEW / 2) * (Math.PI / 180)) / Math.min(1, this.aspect());
    this.controls.target.copy(target.point);
    this.eye.position.copy(target.point).addScaledVector(direction, fit);
    this.lastPoint = target.point.clone();
    this.useLens(FIELD_OF_VIEW);
    this.controls.update();
  }

  selected() {
    return this.data.people.find(({ number }) => number === this.options.person);
  }

  target() {
    const person = this.people?.[this.data.people.indexOf(this.selected())];
    if (person) return person.target(this.options.part);
    const box = this.box.clone(), center = (of) => of.getCenter(new Vector3()), radius = (of) => of.getSize(new Vector3()).length() / 2;
    if (this.options.person !== WITH_CAMERA) return { point: center(box), radius: radius(box) };
    box.expandByPoint(this.lens);
    return { point: center(box), radius: 0.75 * radius(box), direction: SIDE_DIRECTION };
  }

  lookThroughCamera() {
    this.options.inside = true;
    this.options.turn = false;
    const { width, height, focal } = this.data.camera;
    const half = Math.max(height / 2, width / 2 / this.aspect()) / focal;
    this.eye.position.copy(this.lens);
    const distance = Math.max(this.box.getCenter(new Vector3()).sub(this.lens).dot(this.forward), 0.1);
    this.controls.target.copy(this.lens).addScaledVector(this.forward, distance);
    this.useLens(2 * Math.atan(half) * (180 / Math.PI));
    this.controls.update();
    this.apply();
    this.show();
  }

  leaveCamera() {
    if (!this.options.inside) return;
    this.options.inside = false;
    this.eye.up.set(0, 1, 0);
    this.apply();
  }

  reset() {
    Object.assign(this.options, { person: 0, part: "whole", turn: false, inside: false });
    this.aim();
    this.apply();
    this.show();
  }

  useLens(degrees) {
    this.eye.fov = degrees;
    this.eye.up.set(0, 1, 0);
    const { width, height, principal } = this.data.camera;
    if (this.options.inside) {
      this.eye.up.applyQuaternion(this.pyramid.quaternion);
      // The canvas shows the photo and, on two sides, more: off-centre lenses shift the view.
      const half = Math.tan((degrees / 2) * (Math.PI / 180)) * this.data.camera.focal;
      const shift = [principal[0] - width / 2, principal[1] - height / 2].map((pixels) => -pixels / (2 * half));
      this.eye.setViewOffset(this.aspect(), 1, ...shift, this.aspect(), 1);
    } else this.eye.clearViewOffset();
    this.eye.updateProjectionMatrix();
  }

  // Playback.
  seek(time) {
    this.time = Math.min(Math.max(time, 0), this.data.seconds ?? 0);
    for (const person of this.people ?? []) person.pose(this.time);
    if (this.film && (!this.playing || Math.abs(this.film.currentTime - this.time) > MAX_DRIFT_SECONDS)) this.film.currentTime = this.time;
    if (this.people && this.selected()) this.follow();
    this.show();
    this.draw();
  }

  follow() {
    const { point } = this.target();
    const step = point.clone().sub(this.lastPoint);
    this.lastPoint.copy(point);
    this.controls.target.add(step);
    this.eye.position.add(step);
  }

  play(playing) {
    this.playing = playing;
    if (playing && this.time >= this.data.seconds) this.seek(0);
    if (playing) this.film?.play().catch(() => {});
    else this.film?.pause();
    this.animate();
    this.show();
  }

  // One loop for playback and turntable; it ends with them, and with the removal of the element.
  animate() {
    if (this.isAnimating) return;
    this.isAnimating = true;
    let before = performance.now();
    const step = (now) => {
      if (!this.element.isConnected || !(this.playing || this.options.turn)) {
        this.isAnimating = false;
        if (!this.element.isConnected) this.dispose();
        return;
      }
      const seconds = Math.min(0.2, (now - before) / 1000);
      before = now;
      if (this.options.turn) this.orbit(2 * Math.PI * TURNS_PER_SECOND * seconds, 0);
      if (this.playing) {
        this.seek(this.time + seconds);
        if (this.time >= this.data.seconds) this.play(false);
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  orbit(right, up) {
    const offset = this.eye.position.clone().sub(this.controls.target);
    const polar = Math.acos(offset.y / offset.length());
    const angle = Math.min(Math.PI - 0.05, Math.max(0.05, polar - up)) - polar;
    offset.applyAxisAngle(new Vector3(offset.z, 0, -offset.x).normalize(), angle);
    offset.applyAxisAngle(new Vector3(0, 1, 0), right);
    this.eye.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.draw();
  }

  press(event) {
    const turns = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.15], ArrowDown: [0, -0.15] };
    const zooms = { "+": 0.85, "=": 0.85, "-": 1 / 0.85 };
    if (turns[event.key]) {
      this.leaveCamera();
      this.orbit(...turns[event.key]);
    } else if (zooms[event.key]) {
      this.leaveCamera();
      this.eye.position.sub(this.controls.target).multiplyScalar(zooms[event.key]).add(this.controls.target);
      this.controls.update();
    } else return;
    event.preventDefault();
  }

  aspect() {
    return (this.canvas.clientWidth || 1) / (this.canvas.clientHeight || 1);
  }

  resize() {
    if (!this.canvas.clientWidth) return;
    const wasDrawn = this.element.dataset.drawn;
    this.renderer.setSize(this.canvas.clientWidth, this.canvas.clientHeight, false);
    this.eye.aspect = this.aspect();
    if (this.options.inside) this.lookThroughCamera();
    else if (!wasDrawn && !chosen.has(this.data.key)) this.aim();
    this.useLens(this.eye.fov);
    this.draw();
  }

  draw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (!this.element.isConnected) return this.dispose();
      if (!this.canvas.clientWidth) return;
      this.renderer.render(this.scene, this.eye);
      this.element.dataset.drawn = "true";
      this.remember();
    });
  }

  remember() {
    const { options, time, eye, controls } = this;
    chosen.set(this.data.key, { options, time, position: eye.position.clone(), target: controls.target.clone(), fov: eye.fov });
  }

  restore({ position, target, fov }) {
    this.eye.position.copy(position);
    this.controls.target.copy(target);
    this.lastPoint = target.clone();
    this.useLens(fov);
    this.controls.update();
  }

  dispose() {
    this.film?.pause();
    this.controls.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}
