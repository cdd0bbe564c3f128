// Draws the market that rows.js reads, and answers the pointer: prices, spread, volume, coverage.
let frame = 0, pointer = null, picture = null, ready = false
const later = () => { if (ready && !frame) frame = requestAnimationFrame(() => { frame = 0; draw() }) }

function draw() {
  const began = performance.now()
  const ratio = devicePixelRatio || 1, wide = canvas.clientWidth, tall = canvas.clientHeight
  canvas.width = wide * ratio
  canvas.height = tall * ratio
  pen.setTransform(ratio, 0, 0, ratio, 0, 0)
  pen.font = '12px system-ui,sans-serif'
  const width = Math.max(Math.floor(wide - LEFT - RIGHT), 10), x = ns => LEFT + (ns - view.from) / (view.to - view.from) * width
  const strips = STRIP * KINDS.length, free = tall - BELOW - strips - 3 * BETWEEN - 8
  const price = {top: 14, height: free * 0.66}, spread = {top: 14 + price.height + BETWEEN, height: free * 0.16}
  const volume = {top: spread.top + spread.height + BETWEEN, height: free * 0.18}, coverage = {top: volume.top + volume.height + BETWEEN - 6}
  const parts = Object.fromEntries(Object.entries(series).map(([name, one]) => [name, one.parts(view.from, view.to)]))
  const bid = folded(parts.quotes, 0, width, true), ask = folded(parts.quotes, 1, width, true), gap = folded(parts.quotes, 2, width, true)
  const bought = folded(parts.bought, 0, width, false), sold = folded(parts.sold, 0, width, false)
  const middle = median(bid.last) || median(bought.last) || median(sold.last)
  const drawn = [shown.quotes && bid, shown.quotes && ask, shown.trades && bought, shown.trades && sold,
    shown.fills && folded(parts.fills_bought, 0, width, false), shown.fills && folded(parts.fills_sold, 0, width, false)]
  let [low, high] = extremes(drawn.filter(Boolean).map(range => bounded(range, middle)))
  if (!(low <= high)) [low, high] = data.book ? [data.book.low, data.book.low + data.book.rows * data.book.height] : [0, 1]
  const room = (high - low) * 0.06 || Math.abs(high) * 1e-5 || 1
  low -= room
  high += room
  const y = value => price.top + (high - value) / (high - low) * price.height

  const clip = panel => { pen.save(); pen.beginPath(); pen.rect(LEFT, panel.top, width, panel.height); pen.clip() }
  for (const panel of [price, spread, volume]) { pen.strokeStyle = $('line'); pen.lineWidth = 1; pen.strokeRect(LEFT + .5, panel.top + .5, width, panel.height) }
  const day = utc(view.from).slice(0, 10), dayEnds = 4 + pen.measureText(day).width
  pen.textAlign = 'center'
  for (const [at, text] of timeTicks(width)) {
    pen.strokeStyle = $('line')
    for (const panel of [price, spread, volume]) { pen.beginPath(); pen.moveTo(x(at), panel.top); pen.lineTo(x(at), panel.top + panel.height); pen.stroke() }
    pen.fillStyle = $('dim')
    const half = pen.measureText(text).width / 2
    const place = Math.min(Math.max(x(at), LEFT + half + 2), LEFT + width - half)
    if (place - half > dayEnds + 8) pen.fillText(text, place, tall - 6)
  }
  pen.textAlign = 'left'
  pen.fillText(day, 4, tall - 6)
  const grid = (panel, values, place, step) => {
    pen.textAlign = 'right'
    for (const value of values) {
      const at = place(value)
      pen.strokeStyle = $('line')
      pen.beginPath(); pen.moveTo(LEFT, at); pen.lineTo(LEFT + width, at); pen.stroke()
      pen.fillStyle = $('dim')
      pen.fillText(step ? value.toFixed(digits(step)) : String(+value.toPrecision(6)), LEFT - 5, Math.min(Math.max(at + 4, panel.top + 8), panel.top + panel.height))
    }
  }
  const ticks = niceTicks(low, high, Math.max(price.height / 55, 2))
  grid(price, ticks.values, y, ticks.step)
  const title = (panel, text) => { pen.textAlign = 'left'; pen.fillStyle = $('dim'); pen.fillText(text, LEFT + 2, panel.top - 3) }
  title(price, 'price')
  title(spread, 'spread (ask − bid), logarithmic')
  title(volume, 'quantity traded: bought above, sold below')

  clip(price)
  if (shown.book && data.book) drawBook(x, y)
  shade(price, x, width)
  if (shown.quotes) {
    between(bid, ask, y)
    line(bid, y, $('bid'), 1.2)
    line(ask, y, $('ask'), 1.2)
  }
  if (shown.trades) { dots(parts.bought, bought, x, y, $('bought'), width); dots(parts.sold, sold, x, y, $('sold'), width) }
  if (shown.orders) drawOrders(x, y, price)
  if (shown.fills) { triangles(parts.fills_bought, x, y, 1); triangles(parts.fills_sold, x, y, -1) }
  pen.restore()

  const [narrow, widest] = extremes([{...gap, low: gap.low.map(v => v > 0 ? v : NaN)}])
  if (narrow > 0 && widest >= narrow) {
    const from = Math.log10(narrow) - 0.1, to = Math.log10(widest) + 0.1
    const place = value => spread.top + (to - Math.log10(Math.max(value, 1e-300))) / (to - from) * spread.height
    const marks = []
    for (let power = Math.floor(from); power <= to; power++) for (const factor of to - from > 1.2 ? [1] : [1, 2, 5]) {
      const value = factor * 10 ** power
      if (Math.log10(value) >= from && Math.log10(value) <= to) marks.push(value)
    }
    grid(spread, marks, place, 0)
    clip(spread)
    shade(spread, x, width)
    line(gap, place, $('ink'), 1)
    pen.restore()
  }
  drawVolume(parts, volume, grid, clip, width)
  drawCoverage(coverage, x, width)
  if (pointer !== null && pointer >= LEFT && pointer < LEFT + width) {
    pen.strokeStyle = $('dim')
    pen.setLineDash([3, 3])
    pen.beginPath(); pen.moveTo(pointer, 14); pen.lineTo(pointer, volume.top + volume.height); pen.stroke()
    pen.setLineDash([])
    readOut(Math.floor(pointer - LEFT), width, bid, ask, bought, sold)
  }
  const whole = Object.values(parts).every(one => one.every(part => part.rows))
  canvas.dataset.ms = (performance.now() - began).toFixed(2)
  canvas.dataset.mode = whole ? 'rows' : 'groups'
  canvas.dataset.waiting = busy() ? 'yes' : ''
}

function line(range, y, colour, thick) {
  pen.strokeStyle = colour
  pen.lineWidth = thick
  pen.beginPath()
  let before = NaN
  for (let at = 0; at < range.seen.length; at++) {
    if (!range.seen[at]) continue
    const place = LEFT + at + 0.5
    if (!isNaN(before)) pen.lineTo(place, y(before))
    if (!isNaN(range.low[at])) {
      if (isNaN(before)) pen.moveTo(place, y(isNaN(range.first[at]) ? range.low[at] : range.first[at]))
      else if (!isNaN(range.first[at])) pen.lineTo(place, y(range.first[at]))
      pen.lineTo(place, y(range.low[at]))
      pen.lineTo(place, y(range.high[at]))
      if (!isNaN(range.last[at])) { pen.moveTo(place, y(range.last[at])) }
    }
    before = range.last[at]
  }
  if (!isNaN(before)) pen.lineTo(LEFT + range.seen.length, y(before))
  pen.stroke()
}

// What is between bid and ask, lightly.
function between(bid, ask, y) {
  pen.fillStyle = $('ink')
  pen.globalAlpha = 0.07
  let low = NaN, high = NaN
  for (let at = 0; at < bid.seen.length; at++) {
    if (bid.seen[at]) { low = bid.last[at]; high = ask.last[at] }
    if (high > low) pen.fillRect(LEFT + at, y(high), 1, y(low) - y(high))
  }
  pen.globalAlpha = 1
}

function dots(parts, range, x, y, colour, width) {
  pen.fillStyle = colour
  const count = parts.reduce((sum, part) => sum + part.to - part.from, 0), size = count > 10000 ? 1.5 : count > 2000 ? 2.5 : 4
  if (count > DOTS_MAX || !parts.every(part => part.rows)) {
    for (let at = 0; at < width; at++)
      if (range.seen[at]) pen.fillRect(LEFT + at, y(range.high[at]) - 1, 1, y(range.low[at]) - y(range.high[at]) + 2)
    return
  }
  const painted = new Set()
  for (const part of parts) for (let i = part.from; i < part.to; i++) {
    if (part.time[i] < view.from) continue
    const across = Math.round(x(part.time[i])), up = Math.round(y(part.last[0][i])), place = across * 8192 + up
    if (painted.has(place)) continue
    painted.add(place)
    pen.fillRect(across - size / 2, up - size / 2, size, size)
  }
}

function triangles(parts, x, y, side) {
  pen.fillStyle = $('own')
  pen.strokeStyle = $('paper')
  pen.lineWidth = 1
  const painted = new Set()
  for (const part of parts) for (let i = part.from; i < part.to; i++) {
    if (part.time[i] < view.from) continue
    const across = Math.round(x(part.time[i])), up = Math.round(y(part.last[0][i])), place = across * 8192 + up
    if (painted.has(place)) continue
    painted.add(place)
    pen.beginPath(); pen.moveTo(across, up); pen.lineTo(across - 5, up + side * 9); pen.lineTo(across + 5, up + side * 9); pen.closePath()
    pen.fill()
    pen.stroke()
  }
}

function drawOrders(x, y, panel) {
  const inside = data.orders.filter(one => one[0] <= view.to && one[1] >= view.from)
  if (inside.length > 20000) {
    pen.fillStyle = $('ink')
    pen.textAlign = 'right'
    pen.fillText(`${inside.length} orders here are too many to see: zoom in`, canvas.clientWidth - RIGHT - 6, panel.top + 14)
    return
  }
  pen.strokeStyle = $('own')
  pen.lineWidth = 1.2
  for (const side of [1, -1]) {
    pen.setLineDash(side > 0 ? [] : [5, 3])
    pen.beginPath()
    for (const [from, to, value, own] of inside) if (own === side) {
      const begin = Math.max(x(from), LEFT - 9)
      pen.moveTo(begin, y(value))
      pen.lineTo(Math.max(Math.min(x(to), canvas.clientWidth + 9), begin + 1.5), y(value))
    }
    pen.stroke()
  }
  pen.setLineDash([])
}

function drawBook(x, y) {
  const book = data.book
  if (!picture) {
    const cells = Uint8Array.from(atob(book.cells), c => c.charCodeAt(0)), colour = parseInt($('own').slice(-2), 16)
    picture = document.createElement('canvas')
    picture.width = book.columns
    picture.height = book.rows
    const image = new ImageData(book.columns, book.rows)
    for (let row = 0; row < book.rows; row++) for (let column = 0; column < book.columns; column++) {
      const shade = cells[row * book.columns + column], at = ((book.rows - 1 - row) * book.columns + column) * 4
      for (let n = 0; n < 3; n++) image.data[at + n] = colour
      image.data[at + 3] = shade * 0.5
    }
    picture.getContext('2d').putImageData(image, 0, 0)
  }
  const first = Math.max(Math.floor((view.from - book.start) / book.step), 0)
  const last = Math.min(Math.ceil((view.to - book.start) / book.step), book.columns)
  if (last <= first) return
  pen.imageSmoothingEnabled = false
  const left = x(book.start + first * book.step), right = x(book.start + last * book.step)
  const top = y(book.low + book.rows * book.height)
  pen.drawImage(picture, first, 0, last - first, book.rows, left, top, right - left, y(book.low) - top)
}

// What is missing of trades or quotes, in colour over the whole height and hatched; what overlaps on the screen is drawn once.
function shade(panel, x, width) {
  const missing = new Uint8Array(width)
  for (const [kind, state, from, to] of data.coverage) {
    if (state !== 'missing' || kind === 'depth' || to < view.from || from > view.to) continue
    const left = Math.min(Math.max(Math.floor(x(from) - LEFT), 0), width - 2)
    missing.fill(1, left, Math.max(Math.ceil(Math.min(x(to) - LEFT, width)), left + 2))
  }
  pen.fillStyle = pen.strokeStyle = $('missing')
  pen.lineWidth = 1
  for (let from = missing.indexOf(1); from >= 0;) {
    const end = missing.indexOf(0, from), to = end < 0 ? width : end
    pen.globalAlpha = 0.28
    pen.fillRect(LEFT + from, panel.top, to - from, panel.height)
    pen.globalAlpha = 0.6
    pen.save()
    pen.beginPath(); pen.rect(LEFT + from, panel.top, to - from, panel.height); pen.clip()
    pen.beginPath()
    for (let at = LEFT + from - panel.height; at < LEFT + to; at += 9) { pen.moveTo(at, panel.top + panel.height); pen.lineTo(at + panel.height, panel.top) }
    pen.stroke()
    pen.restore()
    pen.globalAlpha = 1
    from = end < 0 ? -1 : missing.indexOf(1, end)
  }
}

let volumes = null
function drawVolume(parts, panel, grid, clip, width) {
  const bar = 3, bins = Math.ceil(width / bar), scale = bins / (view.to - view.from)
  volumes = {bar, bought: new Float64Array(bins), sold: new Float64Array(bins)}
  for (const name of ['bought', 'sold']) for (const part of parts[name]) {
    const total = part.total[0]
    for (let i = part.from; i < part.to; i++) {
      const at = Math.floor((part.time[i] - view.from) * scale)
      if (at >= 0 && at < bins) volumes[name][at] += total[i]
    }
  }
  const most = Math.max(...volumes.bought, ...volumes.sold)
  if (!(most > 0)) return
  const half = panel.height / 2, zero = panel.top + half, ticks = niceTicks(0, most, 2)
  grid(panel, ticks.values.filter(v => v > 0 && v < most), value => zero - value / most * half * 0.95, ticks.step)
  clip(panel)
  for (const [name, side] of [['bought', 1], ['sold', -1]]) {
    pen.fillStyle = $(name)
    for (let at = 0; at < bins; at++) {
      const height = volumes[name][at] / most * half * 0.95
      if (height > 0) pen.fillRect(LEFT + at * bar, side > 0 ? zero - height : zero, bar - 0.5, Math.max(height, 0.7))
    }
  }
  pen.restore()
}

function drawCoverage(panel, x, width) {
  KINDS.forEach((kind, number) => {
    const top = panel.top + number * STRIP
    pen.textAlign = 'right'
    pen.fillStyle = $('dim')
    pen.fillText(kind, LEFT - 5, top + 9)
    for (const state of ['complete', 'unproven', 'repaired', 'missing']) {
      pen.fillStyle = $(state)
      for (const [own, its, from, to] of data.coverage) {
        if (own !== kind || its !== state || to < view.from || from > view.to) continue
        const left = Math.max(x(from), LEFT)
        pen.fillRect(left, top + 1, Math.max(Math.min(x(to), LEFT + width) - left, state === 'missing' ? 2 : 0.5), STRIP - 2)
      }
    }
  })
}

function readOut(at, width, bid, ask, bought, sold) {
  const value = range => {
    if (range.seen[at] && range.high[at] > range.low[at]) return `${+range.low[at].toPrecision(12)} … ${+range.high[at].toPrecision(12)}`
    let place = at
    while (place > 0 && !range.seen[place]) place--
    return isNaN(range.last[place]) ? 'none' : String(+range.last[place].toPrecision(12))
  }
  const ns = view.from + (at + 0.5) / width * (view.to - view.from), fine = (view.to - view.from) / width
  const text = [utc(ns).replace('T', ' ').slice(0, fine > 1e8 ? 19 : fine > 1e5 ? 23 : 29), `bid ${value(bid)}`, `ask ${value(ask)}`]
  for (const [name, range] of [['bought', bought], ['sold', sold]]) {
    const sum = volumes ? volumes[name][Math.floor(at / volumes.bar)] : 0
    if (sum > 0) text.push(`${name} ${+sum.toPrecision(6)}${range.seen[at] ? ' at ' + value(range) : ''}`)
  }
  for (const kind of KINDS) {
    const found = data.coverage.filter(one => one[0] === kind && one[2] <= ns && one[3] >= ns)
    const worst = found.find(one => one[1] === 'missing') || found[0]
    if (worst) text.push(`${kind === 'depth' ? 'book' : kind + 's'} ${worst[1]}${worst[4] ? ' (' + worst[4].replace(/_/g, ' ') + ')' : ''}`)
  }
  document.getElementById('read').textContent = text.join(' · ')
}

function look(from, to) {
  const length = Math.min(Math.max(to - from, 1000), LENGTH)
  const begin = Math.min(Math.max((from + to) / 2 - length / 2, 0), LENGTH - length)
  view.from = begin
  view.to = begin + length
  later()
}
const span = () => view.to - view.from
const zoom = (factor, ns = (view.from + view.to) / 2) => look(ns - (ns - view.from) * factor, ns + (view.to - ns) * factor)
const move = share => look(view.from + span() * share, view.to + span() * share)
const at = event => event.clientX - canvas.getBoundingClientRect().left
const timeAt = place => view.from + (place - LEFT) / Math.max(canvas.clientWidth - LEFT - RIGHT, 10) * span()

const bar = document.getElementById('bar')
for (const [text, label, deed] of [['−', 'zoom out', () => zoom(2)], ['+', 'zoom in', () => zoom(0.5)], ['←', 'earlier', () => move(-0.5)],
  ['→', 'later', () => move(0.5)], ['all', 'the whole span', () => look(0, LENGTH)]]) {
  const button = document.createElement('button')
  button.textContent = text
  button.title = label
  button.setAttribute('aria-label', label)
  button.addEventListener('click', deed)
  bar.append(button)
}
// [which box shows and hides it, what it is, its colour, the shape of its mark]
const legend = [['quotes', 'bid', 'bid', 'line'], ['quotes', 'ask', 'ask', 'line'], ['trades', 'taker bought', 'bought', 'dot'],
  ['trades', 'taker sold', 'sold', 'dot'], ...(data.book ? [['book', 'book', 'dim', '']] : []),
  ...(data.orders.length ? [['orders', 'our orders (sells dashed)', 'own', 'line']] : []),
  ...(series.fills_bought.count + series.fills_sold.count ? [['fills', 'our fills ▲ ▼', 'own', '']] : []),
  ...['missing', 'repaired', 'unproven', 'complete'].filter(state => data.coverage.some(one => one[1] === state)).map(state => ['', state, state, ''])]
for (const [key, text, colour, shape] of legend) {
  const label = document.createElement(key ? 'label' : 'span'), mark = document.createElement('i')
  if (key && !bar.querySelector(`input[name=${key}]`)) {
    const box = document.createElement('input')
    Object.assign(box, {type: 'checkbox', name: key, checked: true})
    box.addEventListener('change', () => { shown[key] = box.checked; later() })
    label.append(box)
  }
  mark.style.background = `var(--${colour})`
  mark.className = shape
  label.append(mark, text)
  bar.append(label)
}

const fingers = new Map()
canvas.addEventListener('pointerdown', event => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, at(event)) })
canvas.addEventListener('pointermove', event => {
  pointer = at(event)
  const before = fingers.get(event.pointerId)
  if (before !== undefined) {
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place)
    if (others.length) zoom(Math.min(Math.max(Math.abs(before - others[0]) / Math.max(Math.abs(pointer - others[0]), 1), 0.2), 5), timeAt(others[0]))
    else { const moved = (before - pointer) / Math.max(canvas.clientWidth - LEFT - RIGHT, 10) * span(); look(view.from + moved, view.to + moved) }
    fingers.set(event.pointerId, pointer)
  }
  later()
})
for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, event => fingers.delete(event.pointerId))
canvas.addEventListener('pointerleave', () => { pointer = null; later() })
canvas.addEventListener('wheel', event => { event.preventDefault(); zoom(Math.exp(Math.min(Math.max(event.deltaY, -300), 300) * 0.002), timeAt(at(event))) }, {passive: false})
canvas.addEventListener('dblclick', () => look(0, LENGTH))
canvas.addEventListener('keydown', event => {
  const deed = {ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), '−': () => zoom(2), 0: () => look(0, LENGTH)}[event.key]
  if (deed) { event.preventDefault(); deed() }
})
addEventListener('resize', later)
matchMedia('(prefers-color-scheme:dark)').addEventListener('change', () => { picture = null; colours = {}; later() })
Promise.all(Object.values(series).map(one => one.begin())).then(() => { ready = true; draw() })
globalThis.market = {series, look, draw, view} // for a console
