// Small pictures of the pages around the one that is shown; a click on one shows it.

const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".thumbs");
  const kept = strip.scrollLeft;
  const pages = data.pages.map(([number, png]) => {
    const drawn = png ? [make("img", { src: `data:image/png;base64,${png}`, alt: "" })] : [];
    const quoted = data.quoted.includes(number);
    const button = make(
      "button",
      { type: "button", "aria-label": `Page ${number}${quoted ? ", quoted" : ""}` },
      ...drawn,
      make("span", quoted ? { class: "quoted" } : {}, `${number}`),
    );
    if (number === data.page) button.setAttribute("aria-current", "page");
    button.onclick = () => setTriggerValue("page", number);
    return button;
  });
  strip.replaceChildren(...pages);
  strip.scrollLeft = kept;
  const current = pages.find((button) => button.hasAttribute("aria-current"));
  if (!current) return;
  const end = current.offsetLeft + current.offsetWidth;
  if (current.offsetLeft < kept) strip.scrollLeft = current.offsetLeft;
  if (end > kept + strip.clientWidth) strip.scrollLeft = end - strip.clientWidth;
}
