// An answer with its marks as buttons. Every text from a document or a model becomes a text node.

const make = (tag, className, ...children) => {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
};

const button = (className, text, onclick) => {
  const element = make("button", className, text);
  element.type = "button";
  element.onclick = onclick;
  return element;
};

// navigator.clipboard is there on loopback and https only.
const copy = async (text) => {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = make("textarea", "", text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
};

// An arrow up in the empty question field brings the last question back.
const recallWith = (question) => (event) => {
  const field = event.target;
  if (event.key !== "ArrowUp" || field.tagName !== "TEXTAREA" || field.value !== "") return;
  if (!field.closest('[data-testid="stChatInput"]')) return;
  event.preventDefault();
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
  set.call(field, question);
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

export default function ({ data, parentElement, setTriggerValue }) {
  const chip = (mark) => {
    const name = data.places[mark];
    const element = button("mark", `${mark}`, () => setTriggerValue("mark", mark));
    element.title = `Show ${name}`;
    element.setAttribute("aria-label", `Source ${mark}: show ${name}`);
    element.setAttribute("aria-pressed", String(data.open === mark));
    return element;
  };
  const parts = (block) => block.parts.map((part) => (typeof part === "number" ? chip(part) : part));
  const blocks = data.blocks.map((block) => make("p", block.kind, ...parts(block)));
  const copying = button("copy", "Copy", async () => {
    await copy(data.text);
    copying.textContent = "Copied";
    setTimeout(() => (copying.textContent = "Copy"), 1500);
  });
  const notes = data.notes.map((note) => make("span", "note", note));
  parentElement
    .querySelector(".answer")
    .replaceChildren(...blocks, make("div", "foot", ...notes, ...(data.text ? [copying] : [])));

  if (!data.recall) return;
  const recall = recallWith(data.recall);
  document.addEventListener("keydown", recall);
  return () => document.removeEventListener("keydown", recall);
}
