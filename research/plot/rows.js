// Draws a market from packed rows (series.py packs them). A view reads the rows themselves where they are few, else groups of 64
// with their extremes, and folds them into one range a pixel column: the work of a frame does not grow with the market.
'use strict'
const data = JSON.parse(document.getElementById('data').textContent)
const canvas = document.getElementById('chart'), pen = canvas.getContext('2d')
const ROWS_MAX = 160000 // that one view reads of one series; more are seen as groups
const DOTS_MAX = 20000 // trades that are drawn as dots; more, as one range a pixel column
const BLOCKS_KEPT = 64 // unpacked blocks of a series
const LEFT = 74, RIGHT = 8, BELOW = 20, STRIP = 11, BETWEEN = 16
const KINDS = ['trade', 'quote', 'depth']
const NS = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 5e8, 1e9, 2e9, 5e9, 10e9, 30e9, 60e9, 120e9, 300e9, 600e9, 1800e9, 3600e9, 7200e9, 21600e9, 43200e9,
  86400e9, 172800e9, 604800e9, 2592000e9]
const LENGTH = Math.max(data.length_ns, 1000)
const view = {from: 0, to: LENGTH}
const shown = {book: true, quotes: true, trades: true, orders: true, fills: true}
let colours = {}
const $ = name => colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()

async function unpacked(id, block, optional) {
  const text = atob(document.getElementById(id).textContent), packed = new Uint8Array(text.length)
  for (let i = 0; i < packed.length; i++) packed[i] = text.charCodeAt(i)
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'))
  const raw = new Uint8Array(await new Response(stream).arrayBuffer()), rows = block.rows
  let at = 0
  return block.planes.map((planes, column) => {
    const zigzag = new Float64Array(rows), scale = 10 ** block.decimals[column]
    for (let plane = 0, factor = 1; plane < planes; plane++, factor *= 256, at += rows)
      for (let i = 0; i < rows; i++) zigzag[i] += raw[at + i] * factor
    let value = block.firsts[column]
    for (let i = 0; i < rows; i++) {
      value += zigzag[i] % 2 ? -(zigzag[i] + 1) / 2 : zigzag[i] / 2
      zigzag[i] = value === 0 && optional[column] ? NaN : value / scale
    }
    return zigzag
  })
}

// The first place in a sorted array whose value is above `value`.
function above(values, value) {
  let low = 0, high = values.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (values[middle] > value) high = middle
    else low = middle + 1
  }
  return low
}

class Series {
  constructor(name) {
    Object.assign(this, {name, ...data.series[name]})
    this.starts = this.rows.map(block => block.firsts[0])
    this.unpacked = new Map()
    this.width = this.names.length
  }

  async begin() {
    const optional = [false, ...this.optional, ...this.optional, ...this.optional, ...this.added.map(() => false)]
    const parts = await Promise.all(this.groups.map((block, n) => unpacked(`${this.name}.groups.${n}`, block, optional)))
    const count = this.groups.reduce((sum, block) => sum + block.rows, 0)
    this.grouped = optional.map((_, column) => {
      const whole = new Float64Array(count)
      let at = 0
      for (const part of parts) { whole.set(part[column], at); at += part[column].length }
      return whole
    })
  }

  async block(number) {
    const found = await unpacked(`${this.name}.rows.${number}`, this.rows[number], [false, ...this.optional])
    this.unpacked.set(number, found)
    while (this.unpacked.size > BLOCKS_KEPT) this.unpacked.delete(this.unpacked.keys().next().value)
  }

  // {time, low, high, last, total, from, to, end: of the last row, rows: whether they are rows} of what lies in a span, and what is before it.
  parts(from, to) {
    const first = Math.max(above(this.starts, from) - 1, 0), last = above(this.starts, to)
    const wanted = []
    let count = 0
    for (let n = first; n < last; n++) { wanted.push(n); count += this.rows[n].rows }
    if (this.rows.length && count <= ROWS_MAX) {
      const absent = wanted.filter(n => !this.unpacked.has(n))
      if (!absent.length) return wanted.map(n => {
        const columns = this.unpacked.get(n)
        this.unpacked.delete(n)
        this.unpacked.set(n, columns)
        const values = columns.slice(1)
        return this.cut(columns[0], values, values, values, this.added.map(c => values[c]), from, to, true)
      })
      if (!this.waiting) {
        this.waiting = true
        Promise.all(absent.map(n => this.block(n))).then(() => { this.waiting = false; if (!busy()) later() })
      }
    }
    const w = this.width, g = this.grouped
    return g[0].length ? [this.cut(g[0], g.slice(1, 1 + w), g.slice(1 + w, 1 + 2 * w), g.slice(1 + 2 * w, 1 + 3 * w),
      g.slice(1 + 3 * w), from, to, false)] : []
  }

  cut(time, low, high, last, total, from, to, rows) {
    return {time, low, high, last, total, rows, end: this.end, from: Math.max(above(time, from) - 1, 0), to: above(time, to)}
  }
}

const busy = () => Object.values(series).some(one => one.waiting)
const series = Object.fromEntries(Object.keys(data.series).map(name => [name, new Series(name)]))

// For every pixel column the first, lowest, highest and last value of one column of a series; NaN where nothing changed.
function folded(parts, column, width, carried) {
  const out = {first: new Float64Array(width).fill(NaN), low: new Float64Array(width).fill(NaN),
    high: new Float64Array(width).fill(NaN), last: new Float64Array(width).fill(NaN), seen: new Uint8Array(width)}
  const scale = width / (view.to - view.from)
  for (const part of parts) {
    const low = part.low[column], high = part.high[column], last = part.last[column], time = part.time
    for (let i = part.from; i < part.to; i++) {
      let x = Math.floor((time[i] - view.from) * scale)
      const next = part.rows ? time[i] : i + 1 < time.length ? time[i + 1] : part.end
      if (x < 0 && !carried && next < view.from) continue
      const entered = x < 0 && !part.rows // a group that began left of the view: its rows may be anywhere up to the next one
      x = Math.min(Math.max(x, 0), width - 1)
      const spread = carried ? !part.rows && i + 1 < part.to : entered
      const until = spread ? Math.min(Math.max(Math.floor((next - view.from) * scale), x), width - 1) : x
      for (let at = x; at <= until; at++) {
        if (!out.seen[at]) { out.seen[at] = 1; out.first[at] = part.rows ? last[i] : low[i] }
        if (!(out.low[at] <= low[i])) out.low[at] = isNaN(low[i]) ? out.low[at] : low[i]
        if (!(out.high[at] >= high[i])) out.high[at] = isNaN(high[i]) ? out.high[at] : high[i]
        out.last[at] = last[i]
      }
    }
  }
  return out
}

function extremes(ranges) {
  let low = Infinity, high = -Infinity
  for (const range of ranges) for (let x = 0; x < range.low.length; x++) {
    if (range.low[x] < low) low = range.low[x]
    if (range.high[x] > high) high = range.high[x]
  }
  return [low, high]
}

// Prices that are far from all others are in real books; the axis leaves them out.
function bounded(range, middle) {
  if (!(middle > 0)) return range
  const inside = value => value > middle / 3 && value < middle * 3
  return {...range, low: range.low.map(v => inside(v) ? v : NaN), high: range.high.map(v => inside(v) ? v : NaN)}
}

function median(values) {
  const there = Array.from(values).filter(v => !isNaN(v)).sort((a, b) => a - b)
  return there.length ? there[there.length >> 1] : NaN
}

function niceTicks(low, high, count) {
  const rough = (high - low) / count
  if (!(rough > 0)) return {values: [low], step: Math.abs(low) || 1}
  const size = 10 ** Math.floor(Math.log10(rough))
  const step = size * [1, 2, 2.5, 5, 10].find(factor => size * factor >= rough * 0.999)
  const values = []
  for (let n = Math.ceil(low / step); n * step <= high; n++) values.push(n * step)
  return {values, step}
}

// Decimals that the multiples of a step have.
function digits(step) {
  let places = 0
  while (places < 12 && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6 * step * 10 ** places) places++
  return places
}
const start = BigInt(data.start_ns)
function utc(ns) {
  const whole = start + BigInt(Math.round(ns)), ms = whole / 1000000n
  return new Date(Number(ms)).toISOString().slice(0, 19) + '.' + String(whole % 1000000000n).padStart(9, '0')
}

function timeTicks(width) {
  const most = Math.max(Math.floor(width / 105), 1)
  const step = NS.find(one => (view.to - view.from) / one <= most) || 31536000e9
  const offset = Number(start % BigInt(step)), ticks = []
  for (let at = Math.ceil((view.from + offset) / step) * step - offset; at <= view.to; at += step) {
    const text = utc(at)
    const places = step >= 1e9 ? 19 : step >= 1e6 ? 23 : 26
    ticks.push([at, step >= 86400e9 ? text.slice(0, 10) : text.slice(11, 26) === '00:00:00.000000' ? text.slice(5, 10) : step >= 60e9 ? text.slice(11, 16) : text.slice(11, places)])
  }
  return ticks
}
