// What the viewer needs of three.js; README.md says how `three.min.js` is built from it.
export {
  AnimationMixer, Box3, BufferGeometry, Color, DirectionalLight, DoubleSide, Float32BufferAttribute, GridHelper, Group, HemisphereLight,
  LineBasicMaterial, LineSegments, Mesh, MeshBasicMaterial, PerspectiveCamera, SRGBColorSpace, Scene, TextureLoader, Vector3,
  VideoTexture, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
export { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
