"""Independent reader of binary glTF, written for readability."""

import json

import numpy as np
from scipy.spatial.transform import Rotation

TYPES = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class GlbReader:
    """Document and arrays of a file; checks its structure."""

    def __init__(self, content):
        assert content[:4] == b"glTF"
        version, length, text_length = np.frombuffer(content[4:16], "<u4")
        assert (version, length) == (2, len(content))
        assert text_length % 4 == 0 and content[16:20] == b"JSON"
        self.document = json.loads(content[20 : 20 + text_length])
        rest = content[20 + text_length :]
        self.nodes = self.document.get("nodes", [])
        self.binary = b""
        if rest:
            assert rest[4:8] == b"BIN\0" and int.from_bytes(rest[:4], "little") == len(rest) - 8
            self.binary = rest[8:]
            assert self.document["buffers"][0]["byteLength"] == len(self.binary)

    def array(self, number):
        accessor = self.document["accessors"][number]
        view = self.document["bufferViews"][accessor["bufferView"]]
        part = self.binary[view["byteOffset"] :][: view["byteLength"]]
        values = np.frombuffer(part, TYPES[accessor["componentType"]])
        width = WIDTHS[accessor["type"]]
        values = values.reshape(-1, width) if width > 1 else values
        assert len(values) == accessor["count"] and view["byteOffset"] % 4 == 0
        for bound, reduce in (("min", np.min), ("max", np.max)):
            if bound in accessor:
                found = np.atleast_1d(reduce(values, axis=0))
                np.testing.assert_allclose(accessor[bound], found, rtol=1e-6, atol=1e-9)
        return values

    def node(self, name):
        """Index of the node with this name."""
        return next(i for i, node in enumerate(self.nodes) if node["name"] == name)

    def keys(self, node, path):
        """Times and values of an animated property of a node, or None."""
        for animation in self.document.get("animations", []):
            for channel in animation["channels"]:
                if channel["target"] == {"node": node, "path": path}:
                    sampler = animation["samplers"][channel["sampler"]]
                    return self.array(sampler["input"]), self.array(sampler["output"])
        return None

    def world(self, key=0):
        """(N, 4, 4) world matrices of all nodes at a key frame."""
        matrices = [np.eye(4)] * len(self.nodes)

        def visit(number, above):
            node = self.nodes[number]
            local = np.eye(4)
            local[:3, 3] = node.get("translation", (0, 0, 0))
            local[:3, :3] = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
            if (positions := self.keys(number, "translation")) is not None:
                local[:3, 3] = positions[1][key]
            if (rotations := self.keys(number, "rotation")) is not None:
                local[:3, :3] = Rotation.from_quat(rotations[1][key]).as_matrix()
            matrices[number] = above @ local
            for child in node.get("children", []):
                visit(child, matrices[number])

        for root in self.document["scenes"][0].get("nodes", []):
            visit(root, np.eye(4))
        return np.array(matrices)

    def skinned(self, mesh_node, key=0):
        """(V, 3) vertices of a skinned node at a key frame."""
        node = self.nodes[mesh_node]
        mesh = self.document["meshes"][node["mesh"]]
        primitive = mesh["primitives"][0]
        attributes = {name: self.array(n) for name, n in primitive["attributes"].items()}
        points = attributes["POSITION"].astype(np.float64)
        if "targets" in primitive:
            weights = mesh["weights"]
            if (keys := self.keys(mesh_node, "weights")) is not None:
                weights = keys[1].reshape(len(keys[0]), -1)[key]
            for weight, target in zip(weights, primitive["targets"], strict=True):
                points = points + weight * self.array(target["POSITION"])
        skin = self.document["skins"][node["skin"]]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        moves = self.world(key)[skin["joints"]] @ inverse
        blended = np.einsum("vk,vkij->vij", attributes["WEIGHTS_0"], moves[attributes["JOINTS_0"]])
        points = np.concatenate([points, np.ones((len(points), 1))], 1)
        return np.einsum("vij,vj->vi", blended, points)[:, :3]
