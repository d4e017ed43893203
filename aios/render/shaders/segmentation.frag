#version 330 core

in vec3 vertex_color;
flat in float person;

out vec4 frag_color;

void main()
{
    frag_color = vec4(vertex_color, person);
}
