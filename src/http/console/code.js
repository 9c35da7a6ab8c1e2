"use strict";
/* The form as a call of curl, a program in Python (its standard library) or in JavaScript (Node 18). */

const quoteShell = s => "'" + s.replaceAll("'", "'\\''") + "'";

/* Name of the file that a part of the request stands for. */
function fileOf(input) {
  const type = (input.blob.type || "image/png").split("/")[1];
  return input.name + "." + (type === "jpeg" ? "jpg" : type);
}

function outputOf(spec) {
  return { many: (spec.n ?? 1) > 1, extension: spec.format === "jpeg" ? "jpg" : spec.format ?? "png" };
}

function curlOf({ spec, inputs }, url) {
  const { many, extension } = outputOf(spec);
  const lines = [`curl --fail-with-body -o picture${many ? "s.json" : "." + extension} ${quoteShell(url)}`];
  if (api.key) lines.push('-H "Authorization: Bearer $CONTROLNETD_KEY"');
  if (many) lines.push("-H 'Accept: application/json'");
  if (inputs.length === 0) lines.push("-H 'Content-Type: application/json'", "-d " + quoteShell(jsonOf(spec, 2)));
  else lines.push("--form-string " + quoteShell("params=" + jsonOf(spec, 2)), ...inputs.map(i => `-F '${i.name}=@${fileOf(i)}'`));
  return lines.join(" \\\n    ");
}

/* JSON as Python or JavaScript has it; places of pictures become calls that read them. */
function literal(spec, inputs, python) {
  let text = jsonOf(spec, 4);
  for (const i of inputs) text = text.replaceAll(`"part:${i.name}"`, `picture("${fileOf(i)}")`);
  if (!python) return text;
  return text.replace(/(": )(true|false|null)(?=,?$)/gm, (all, before, word) =>
    before + { true: "True", false: "False", null: "None" }[word]);
}

function pythonOf({ spec, inputs }, url) {
  const key = api.key ? `\n    "Authorization": "Bearer " + os.environ["CONTROLNETD_KEY"],` : "";
  const read = inputs.length === 0 ? "" : `
def picture(name):
    with open(name, "rb") as f:
        return base64.b64encode(f.read()).decode()

`;
  return `import base64
import json${api.key ? "\nimport os" : ""}
import urllib.request
${read}
spec = ${literal(spec, inputs, true)}
headers = {
    "Content-Type": "application/json",
    "Accept": "application/json",${key}
}
request = urllib.request.Request(${JSON.stringify(url)}, json.dumps(spec).encode(), headers)
with urllib.request.urlopen(request) as answer:
    result = json.load(answer)
for image in result["images"]:
    with open("picture-%d.%s" % (image["index"], image["format"]), "wb") as f:
        f.write(base64.b64decode(image["data"]))
    print("seed", image["seed"])
`;
}

function javascriptOf({ spec, inputs }, url) {
  const key = api.key ? `\n    "Authorization": "Bearer " + process.env.CONTROLNETD_KEY,` : "";
  const read = inputs.length === 0 ? "" : `const picture = name => readFileSync(name).toString("base64");\n`;
  return `import { ${inputs.length === 0 ? "" : "readFileSync, "}writeFileSync } from "node:fs";

${read}const spec = ${literal(spec, inputs, false)};
const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Accept": "application/json",${key}
  },
  body: JSON.stringify(spec),
});
const result = await answer.json();
if (!answer.ok) throw new Error(result.detail ?? result.title);
for (const image of result.images) {
  writeFileSync(\`picture-\${image.index}.\${image.format}\`, Buffer.from(image.data, "base64"));
  console.log("seed", image.seed);
}
`;
}

async function renderCode() {
  const request = await readRequest(), url = new URL("v1/images", document.baseURI).href;
  const language = document.querySelector("[name=language]:checked").value;
  $("code").textContent = { curl: curlOf, python: pythonOf, javascript: javascriptOf }[language](request, url);
  const notes = [];
  if (api.key) notes.push("The key is expected in the environment, as CONTROLNETD_KEY.");
  if (request.inputs.length > 0) notes.push("It reads " + request.inputs.map(fileOf).join(", ") + " from the current folder.");
  $("code-note").textContent = notes.join(" ");
  $("save-inputs").hidden = request.inputs.length === 0;
  $("save-inputs").onclick = () => { for (const i of request.inputs) save(i.blob, fileOf(i)); };
}
