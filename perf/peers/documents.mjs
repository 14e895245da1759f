// What whole documents and single keystrokes cost a Yjs server, told from outside: run time of its threads and time
// on the clock, for loading a big document, for a late join with it, and for 20,000 keystrokes heard by one other.
// Usage: node documents.mjs --url=ws://127.0.0.1:PORT/PREFIX --pid=PID --label=NAME --json=PATH-PREFIX
//   [--edits=100000] [--update=FILE] [--loads=3] [--joins=10] [--keys=20000]
// --update=FILE is a Yjs update (format 1) to take instead of the generated document. Each figure goes to a file
// PATH-PREFIX-NAME.json as the load generator writes them. Exit code 1 if a server lost or changed anything.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as Y from 'yjs'
import { generate, keystrokes } from './text.mjs'
import { Client, within } from './yjs-client.mjs'

const text = { type: 'string' }
const { values: options } = parseArgs({
  options: {
    url: text, pid: text, label: text, json: text, update: text,
    edits: { ...text, default: '100000' }, loads: { ...text, default: '3' },
    joins: { ...text, default: '10' }, keys: { ...text, default: '20000' },
  },
})
const [edits, loads, joins, keys] = ['edits', 'loads', 'joins', 'keys'].map((name) => Number(options[name]))
// What a server puts off (collecting garbage, taking in what it relayed) must be paid within the figure.
const SETTLE_MS = 1000
const RUN = process.pid.toString(36)
const EMPTY = Uint8Array.of(0)

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const open = (room) => Client.open(`${options.url}/${RUN}-${room}`)

/** Run time of the server's threads so far, in milliseconds. */
function cpuMs () {
  const tasks = `/proc/${options.pid}/task`
  return readdirSync(tasks).reduce((sum, task) => sum + schedstat(`${tasks}/${task}/schedstat`), 0) / 1e6
}

/** Nanoseconds; a thread may have ended since the directory was read. */
function schedstat (path) {
  try {
    return Number(readFileSync(path, 'ascii').split(' ', 1)[0])
  } catch {
    return 0
  }
}

function memory () {
  const status = readFileSync(`/proc/${options.pid}/status`, 'ascii')
  const bytes = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1]) * 1024
  return { rss_bytes: bytes('VmRSS'), rss_anon_bytes: bytes('RssAnon') }
}

/** Runs `act` `times` times, telling it which; means of its milliseconds and of the server's run time. */
async function measure (times, act) {
  const [before, elapsed] = [cpuMs(), []]
  for (let time = 0; time < times; time++) elapsed.push(await act(time))
  await sleep(SETTLE_MS)
  return { cpuMs: (cpuMs() - before) / times, elapsed: elapsed.sort((a, b) => a - b) }
}

function report (name, unit, value, elapsed, more) {
  const at = (share) => elapsed[Math.min(elapsed.length - 1, Math.floor(elapsed.length * share))]
  const result = {
    scenario: name, label: options.label, protocol: 'yjs',
    figure: { name: unit === 'ms' ? 'cpu_ms' : 'cpu_us_per_update', unit, value },
    latency_ms: { count: elapsed.length, p50: at(0.5), p99: at(0.99) },
    memory_after: memory(), ...more,
  }
  writeFileSync(`${options.json}-${name}.json`, JSON.stringify(result, null, 2) + '\n')
  console.log(`${name} (${options.label}): ${value.toFixed(3)} ${unit} of CPU, p50 ${at(0.5).toFixed(2)} ms`)
}

function must (holds, what) {
  if (!holds) throw new Error(`${options.label}: ${what}`)
}

/** The document's texts by name and its state vector: enough to tell two documents apart. */
function digest (update) {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  must(doc.store.pendingStructs === null, 'an update lacks what it builds on')
  const texts = [...doc.share.keys()].sort().map((name) => [name, doc.getText(name).toString()])
  return JSON.stringify([Buffer.from(Y.encodeStateVector(doc)).toString('hex'), texts])
}

/** A client that has the document opens a room with it; taken in when a question behind it is answered. */
async function load (update) {
  const vector = Y.encodeStateVectorFromUpdate(update)
  const figure = await measure(loads, async (time) => {
    const client = await open(`document-${time}`)
    await client.ask(EMPTY)
    const start = performance.now()
    client.answer(update)
    await client.ask(vector)
    const elapsed = performance.now() - start
    client.close()
    return elapsed
  })
  report('document-load', 'ms', figure.cpuMs, figure.elapsed, { update_bytes: update.length })
}

/** A client that has nothing joins; from connecting to the whole document. One of `typed` is typed before each. */
async function lateJoin (name, update, typed) {
  const keeper = await open(name)
  keeper.answer(update)
  const vector = Y.encodeStateVectorFromUpdate(update)
  await keeper.ask(vector)
  let received
  const figure = await measure(joins, async (time) => {
    if (time < typed.length) {
      keeper.update(typed[time])
      await keeper.ask(vector)
    }
    const start = performance.now()
    const client = await open(name)
    received = await client.ask(EMPTY)
    client.close()
    return performance.now() - start
  })
  must(digest(received) === digest(Y.mergeUpdates([update, ...typed])), 'a late client was given another document')
  keeper.close()
  report(name, 'ms', figure.cpuMs, figure.elapsed, { answer_bytes: received.length })
}

/** One types, one listens, with so many keystrokes under way. */
async function typing (name, updates, under_way) {
  const [writer, reader] = await Promise.all([open(name), open(name)])
  await Promise.all([writer.ask(EMPTY), reader.ask(EMPTY)])
  const [heard, sent, elapsed] = [[], [], []]
  const figure = await measure(1, async () => {
    const start = performance.now()
    const all = new Promise((done, failed) => {
      const next = () => {
        sent.push(performance.now())
        writer.update(updates[sent.length - 1])
      }
      reader.onUpdate = (update) => {
        elapsed.push(performance.now() - sent[heard.length])
        heard.push(update)
        if (heard.length === updates.length) return done()
        if (sent.length < updates.length) next()
      }
      writer.onClose = reader.onClose = (code) => failed(new Error(`closed with ${code}`))
      for (let at = 0; at < Math.min(under_way, updates.length); at++) next()
    })
    await within(all, 'end of the keystrokes')
    return performance.now() - start
  })
  must(digest(Y.mergeUpdates(heard)) === digest(Y.mergeUpdates(updates)), 'the listener has another text')
  must(digest(await reader.ask(EMPTY)) === digest(Y.mergeUpdates(updates)), 'the server has another text')
  writer.onClose = reader.onClose = undefined
  writer.close()
  reader.close()
  elapsed.sort((a, b) => a - b)
  const cost = (figure.cpuMs * 1000) / updates.length
  report(name, 'us', cost, elapsed, { updates: updates.length, under_way, elapsed_ms: figure.elapsed[0] })
}

const update = options.update ? new Uint8Array(readFileSync(options.update)) : generate(edits)
await load(update)
await lateJoin('document-late-join', update, [])
await lateJoin('document-late-join-live', update, keystrokes(joins))
const typed = keystrokes(keys)
await typing('typed', typed, 1)
await typing('typed-ahead', typed, 20)
