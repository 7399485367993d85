// A page's image with the quoted words outlined: SVG over it, in the page's own points.

const SVG = "http://www.w3.org/2000/svg";
const ZOOMS = [1, 1.25, 1.5, 2, 3];
const NARROW = 800; // pixels: below it the page stands under the chat, so it is scrolled into view

const make = (tag, attributes, ...children) => {
  const element = ["svg", "rect"].includes(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const outline = ([x0, y0, x1, y1]) =>
  make("rect", {
    "data-box": [x0, y0, x1, y1].join(","),
    x: x0 - 1,
    y: y0 - 1,
    width: x1 - x0 + 2,
    height: y1 - y0 + 2,
    rx: 1.5,
  });

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".page");
  const shown = root.dataset.shown;
  if (shown === data.shown) return; // the same page with the same words: keep zoom and place
  const [width, height] = data.size;
  const image = make("img", { src: `data:image/png;base64,${data.png}`, alt: data.name });
  const boxes = make(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...data.boxes.map(outline),
  );
  const sheet = make("div", { class: "sheet" }, image, boxes);
  const scroller = make("div", { class: "scroller", tabindex: "0", "aria-label": data.name }, sheet);
  const percent = make("output", {});

  const zoom = (steps) => {
    const now = ZOOMS.indexOf(Number(root.dataset.zoom || 1));
    const level = ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, now + steps))];
    root.dataset.zoom = level;
    sheet.style.width = `${100 * level}%`;
    percent.textContent = `${Math.round(100 * level)}%`;
  };
  const button = (text, label, steps) => {
    const element = make("button", { type: "button", "aria-label": label }, text);
    element.onclick = () => zoom(steps);
    return element;
  };
  const bar = make("div", { class: "bar" }, button("−", "Smaller", -1), percent, button("+", "Larger", 1));
  zoom(0);
  root.replaceChildren(bar, scroller);
  root.dataset.shown = data.shown;

  // The sheet has no height before the image is drawn.
  image.onload = () => {
    const [first] = data.boxes;
    const top = first ? (first[1] / height) * sheet.clientHeight : 0;
    scroller.scrollTop = Math.max(0, top - scroller.clientHeight / 3);
    if (window.innerWidth < NARROW) root.scrollIntoView({ block: "start" });
  };
}
