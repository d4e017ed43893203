#version 330 core
// Replaces pyrender's shader of the same name: one pass gives colour, person index and depth.

layout(location = 0) in vec3 position;
layout(location = COLOR_0_LOC) in vec4 color_0;
layout(location = INST_M_LOC) in mat4 inst_m;

uniform mat4 P;
uniform mat4 V;
uniform mat4 M;

out vec3 vertex_color;
flat out float person;

void main()
{
    vertex_color = color_0.rgb;
    person = color_0.a;
    gl_Position = P * V * M * inst_m * vec4(position, 1.0);
}
