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

// How much a word matched, 0 to 1, as how strongly it is coloured.
const glow = ([x0, y0, x1, y1, heat]) =>
  make("rect", {
    class: "heat",
    x: x0,
    y: y0,
    width: x1 - x0,
    height: y1 - y0,
    "fill-opacity": (0.75 * heat).toFixed(3),
  });

const outline = ([x0, y0, x1, y1]) =>
  make("rect", {
    class: "quote",
    "data-box": [x0, y0, x1, y1].join(","),
    x: x0 - 1,
    y: y0 - 1,
    width: x1 - x0 + 2,
    height: y1 - y0 + 2,
    rx: 1.5,
  });

// The browser's own viewer, at this page: a copy of the file in a tab, gone with this one.
const opened = new Set();
const openPdf = ({ pdf, number, key }) => {
  if (opened.has(key)) return;
  opened.add(key);
  const bytes = Uint8Array.from(atob(pdf), (c) => c.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/pdf" }));
  make("a", { href: `${url}#page=${number}`, target: "_blank", rel: "noopener" }).click();
};

export default function ({ data, parentElement, setTriggerValue }) {
  if (data.open) openPdf(data.open);
  const root = parentElement.querySelector(".page");
  root.style.setProperty("--above", `${data.above}rem`);
  const shown = root.dataset.shown;
  if (shown === data.shown) return; // the same page with the same words: keep zoom and place
  const scrolled = root.querySelector(".scroller");
  const kept = root.dataset.page === data.page && scrolled ? scrolled.scrollTop : null;
  const [width, height] = data.size;
  const image = make("img", { src: `data:image/png;base64,${data.png}`, alt: data.name });
  const boxes = make(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...data.heat.map(glow),
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
  const open = make("button", { type: "button" }, "Open in a tab");
  open.title = "Open the PDF at this page in the browser's own viewer";
  open.onclick = () => setTriggerValue("open", true);
  const bar = make(
    "div",
    { class: "bar" },
    button("−", "Smaller", -1),
    percent,
    button("+", "Larger", 1),
    ...(data.openable ? [open] : []),
  );
  zoom(0);
  root.replaceChildren(bar, scroller);
  root.dataset.shown = data.shown;
  root.dataset.page = data.page;

  // The sheet has no height before the image is drawn.
  image.onload = () => {
    if (kept !== null) {
      scroller.scrollTop = kept;
      return;
    }
    const [first] = data.boxes;
    const top = first ? (first[1] / height) * sheet.clientHeight : 0;
    scroller.scrollTop = Math.max(0, top - scroller.clientHeight / 3);
    if (window.innerWidth < NARROW) root.scrollIntoView({ block: "start" });
  };
}
