// Draws streams of output. All text becomes text nodes: nothing that a task wrote is ever read as markup.

// Marks beyond these cost more than they tell; all of them are counted.
const MARKS = 5000

export default function ({ data, parentElement }) {
  const root = parentElement
  const find = root.querySelector("input[type=search]")
  const [follow, wrap] = [root.querySelector(".follow"), root.querySelector(".wrap")]
  const [count, panes] = [root.querySelector(".count"), root.querySelector(".panes")]
  const buttons = [root.querySelector(".previous"), root.querySelector(".next")]
  const state = (panes.state ??= { at: 0, live: null, drawn: new Map() })
  if (state.live !== data.live) follow.checked = state.live = data.live

  const draw = () => {
    const kept = new Map([...panes.querySelectorAll(".pane")].map((pane) => [pane.dataset.name, pane]))
    const wanted = data.panes.map((one) => {
      const look = JSON.stringify([one, find.value])
      const old = kept.get(one.name)
      if (old && state.drawn.get(one.name) === look) return old
      state.drawn.set(one.name, look)
      const made = pane(one, find.value, data.height)
      const box = made.querySelector(".box")
      const before = old?.querySelector(".box")
      if (box && before) box.place = [before.scrollLeft, before.scrollTop]
      return made
    })
    if (wanted.some((one) => !one.isConnected) || kept.size !== wanted.length) panes.replaceChildren(...wanted)
    panes.classList.toggle("wrapped", wrap.checked)
    for (const box of panes.querySelectorAll(".box")) {
      if (box.place) [box.scrollLeft, box.scrollTop] = box.place
      delete box.place
      box.onscroll = () => {
        // Whoever scrolls up wants to read, and whoever goes back to the end wants to follow.
        if (data.live) follow.checked = box.scrollHeight - box.scrollTop - box.clientHeight < 24
      }
    }
    if (follow.checked && !find.value) toEnd()
    show(0)
  }

  const toEnd = () => panes.querySelectorAll(".box").forEach((box) => (box.scrollTop = box.scrollHeight))

  // A hit may be several marks, since colours cut it; the first of them stands for it.
  const show = (step) => {
    const marks = [...panes.querySelectorAll("mark.first")]
    const total = [...panes.querySelectorAll(".pane")].reduce((sum, one) => sum + (one.hits || 0), 0)
    buttons.forEach((one) => (one.disabled = !marks.length))
    panes.querySelectorAll("mark.now").forEach((one) => one.classList.remove("now"))
    if (!find.value) return (count.textContent = "")
    if (!marks.length) return (count.textContent = "none found")
    state.at = (state.at + step + marks.length) % marks.length
    count.textContent = `${state.at + 1} of ${total}`
    const now = marks[state.at]
    const box = now.closest(".box")
    box.querySelectorAll(`mark[data-hit="${now.dataset.hit}"]`).forEach((one) => one.classList.add("now"))
    const place = now.getBoundingClientRect().top - box.getBoundingClientRect().top
    if (step || !state.shown) box.scrollTop += place - box.clientHeight / 2
    state.shown = true
  }

  find.oninput = () => {
    state.at = 0
    state.shown = false
    draw()
  }
  find.onkeydown = (event) => {
    if (event.key === "Enter") show(event.shiftKey ? -1 : 1)
  }
  buttons[0].onclick = () => show(-1)
  buttons[1].onclick = () => show(1)
  wrap.onchange = () => panes.classList.toggle("wrapped", wrap.checked)
  follow.onchange = () => follow.checked && toEnd()
  draw()
}

function element(name, className, text) {
  const made = document.createElement(name)
  if (className) made.className = className
  if (text) made.textContent = text
  return made
}

function pane(one, find, height) {
  const made = element("div", one.spans.length ? "pane" : "pane idle")
  made.dataset.name = one.name
  const head = element("div", "head")
  head.append(element("b", "", one.name), element("span", "", one.spans.length ? one.note : one.empty))
  if (one.link) {
    const link = element("a", "", "Download")
    link.href = one.link
    link.setAttribute("download", "")
    head.append(link)
  }
  made.append(head)
  if (!one.spans.length) return made
  const box = element("div", "box")
  box.style.maxHeight = `${height}px`
  const text = element("pre")
  made.hits = fill(text, one.spans, find)
  box.append(text)
  made.append(box)
  return made
}

// Puts coloured text into a node, with all places of a search marked; gives their number.
function fill(node, spans, find) {
  const whole = spans.map(([, text]) => text).join("")
  const hits = find ? [...whole.matchAll(new RegExp(find.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi"))] : []
  const ranges = hits.slice(0, MARKS).map((hit) => [hit.index, hit.index + hit[0].length])
  let [start, next] = [0, 0]
  for (const [css, text] of spans) {
    const place = css ? element("span") : node
    if (css) {
      place.style.cssText = css
      node.append(place)
    }
    let done = 0
    while (next < ranges.length && ranges[next][0] < start + text.length) {
      const [begin, end] = ranges[next]
      const [first, last] = [Math.max(begin - start, 0), Math.min(end - start, text.length)]
      place.append(text.slice(done, first))
      const mark = element("mark", begin >= start ? "first" : "", text.slice(first, last))
      mark.dataset.hit = next
      place.append(mark)
      done = last
      if (end > start + text.length) break
      next += 1
    }
    place.append(text.slice(done))
    start += text.length
  }
  return hits.length
}
