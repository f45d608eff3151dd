// Elements of pictures. Text is only ever set as text.

const SPACE = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, text = null, ...children) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

// The picture's width and height as it is shown, which its coordinates are in.
export function fit(svg, height) {
  const width = Math.max(Math.floor(svg.parentElement.clientWidth), 200);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  return width;
}

// Moments that the time from one to another is divided by, on whole minutes.
export function moments(from, to, most) {
  const steps = [60, 120, 300, 600, 900, 1800];
  const step = steps.find((one) => (to - from) / one <= most) || 3600;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}
