// Meshes of the people: static ones in one GLB, or one animated GLB per track.
import { AnimationMixer, Box3, GLTFLoader, Vector3 } from "./three.min.js";

const RADII = { face: 0.19, left_hand: 0.15, right_hand: 0.15 };
// Joints of the skeleton in the order of SMPL-X.
const HEAD = 15, EYES = [23, 24], HANDS = { left_hand: [20, 28], right_hand: [21, 43] };
// A track is shown for this long around its first and last frame.
const MARGIN_SECONDS = 0.02;

export async function loadPeople(data) {
  const loader = new GLTFLoader();
  if (data.meshes) {
    const file = await loader.loadAsync(data.meshes);
    return data.people.map((person) => new StillPerson(file.scene.getObjectByName(person.node), person));
  }
  const files = await Promise.all(data.people.map((person) => loader.loadAsync(person.url)));
  return data.people.map((person, index) => new MovingPerson(files[index], person));
}

class Person {
  style(opacity, wireframe) {
    this.object.traverse((part) => {
      if (!part.isMesh) return;
      part.frustumCulled = false;
      part.material.transparent = opacity < 1;
      part.material.opacity = opacity;
      part.material.wireframe = wireframe;
      part.material.needsUpdate = true;
    });
  }

  // Centre, radius and, for the face, direction from which to look.
  target(part) {
    if (part === "whole") return this.whole();
    const points = this.points(part);
    const point = points.reduce((sum, one) => sum.add(one), new Vector3()).divideScalar(points.length);
    const direction = part === "face" ? point.clone().sub(this.head()) : undefined;
    if (direction) direction.setY(0.2 * direction.y).normalize();
    return { point, radius: RADII[part], direction };
  }
}

class StillPerson extends Person {
  constructor(object, { parts }) {
    super();
    this.object = object;
    this.parts = parts;
  }

  whole() {
    const box = new Box3().setFromObject(this.object);
    return { point: box.getCenter(new Vector3()), radius: box.getSize(new Vector3()).length() / 2 };
  }

  points(part) {
    return this.parts[part].map((point) => new Vector3(...point));
  }

  head() {
    return new Vector3(...this.parts.head[0]);
  }

  pose() {}
}

class MovingPerson extends Person {
  constructor(file, { first, last }) {
    super();
    this.object = file.scene;
    this.span = [first, last];
    this.mixer = new AnimationMixer(file.scene);
    this.mixer.clipAction(file.animations[0]).play();
    file.scene.traverse((part) => { if (part.isSkinnedMesh) this.bones = part.skeleton.bones; });
  }

  pose(time) {
    const [first, last] = this.span;
    this.object.visible = first - MARGIN_SECONDS <= time && time <= last + MARGIN_SECONDS;
    // At the very end of a clip, the mixer starts it again.
    this.mixer.setTime(Math.min(Math.max(time, first), last - 1e-4));
    this.object.updateMatrixWorld(true);
  }

  whole() {
    const box = new Box3();
    for (const bone of this.bones) box.expandByPoint(bone.getWorldPosition(new Vector3()));
    return { point: box.getCenter(new Vector3()), radius: 0.6 * box.getSize(new Vector3()).length() };
  }

  points(part) {
    return (part === "face" ? EYES : HANDS[part]).map((joint) => this.bones[joint].getWorldPosition(new Vector3()));
  }

  head() {
    return this.bones[HEAD].getWorldPosition(new Vector3());
  }
}
