// Draws boxes and the arrows between them. Words are text nodes; what is written nowhere becomes markup.

const SVG = "http://www.w3.org/2000/svg"

export default function ({ data, parentElement }) {
  const look = JSON.stringify(data)
  if (parentElement.look === look) return
  parentElement.look = look
  const drawing = node("svg", { viewBox: `0 0 ${data.width} ${data.height}`, width: data.width, height: data.height })
  // A little too wide is made to fit; what could not be read then is scrolled.
  drawing.style.cssText = `max-width:100%;min-width:${Math.round(data.width * 0.75)}px;height:auto`
  drawing.setAttribute("role", "img")
  drawing.setAttribute("aria-label", data.title)
  for (const [x1, y1, x2, y2, dashed] of data.edges) {
    const bend = Math.max((x2 - x1) / 2, 12)
    const line = node("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` })
    if (dashed) line.setAttribute("stroke-dasharray", "4 3")
    drawing.append(line, node("path", { class: "head", d: `M${x2 - 6} ${y2 - 3.5}L${x2} ${y2}L${x2 - 6} ${y2 + 3.5}z` }))
  }
  for (const one of data.nodes) {
    const link = node("a", { href: one.href })
    const box = node("rect", { x: one.x, y: one.y, width: one.width, height: one.height, rx: 6, class: "box" })
    if (one.outside) box.setAttribute("stroke-dasharray", "4 3")
    const bar = node("rect", { x: one.x, y: one.y, width: 5, height: one.height, rx: 2, fill: one.colour })
    if (one.running) bar.append(node("animate", { attributeName: "opacity", values: "1;.35;1", dur: "1.6s", repeatCount: "indefinite" }))
    const label = node("text", { x: one.x + 12, y: one.y + 15, class: "label" })
    label.textContent = one.label
    const state = node("text", { x: one.x + 12, y: one.y + 29, class: "state" })
    state.textContent = one.state
    const title = node("title", {})
    title.textContent = one.title
    link.append(title, box, bar, label, state)
    drawing.append(link)
  }
  parentElement.querySelector(".graph").replaceChildren(drawing)
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}
