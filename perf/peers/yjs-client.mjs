// As much of a y-websocket client as the measurements need (y-protocols, sync): it has no document, so that its own
// work does not stand in the way of the server's.
import WebSocket from 'ws'

const [SYNC, STEP_1, STEP_2, UPDATE] = [0, 0, 1, 2]
const NOTHING = Uint8Array.of(0, 0)
const PATIENCE_MS = 60_000

/** What `promise` resolves to; rejects if that takes a minute. */
export function within (promise, what) {
  let timer
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`no ${what} within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** A length in groups of seven bits, the low ones first. */
function lengthBytes (length) {
  const bytes = []
  for (; length > 0x7f; length >>>= 7) bytes.push((length & 0x7f) | 0x80)
  return [...bytes, length]
}

/** A sync message. */
function sync (kind, body) {
  const head = [SYNC, kind, ...lengthBytes(body.length)]
  const message = new Uint8Array(head.length + body.length)
  message.set(head)
  message.set(body, head.length)
  return message
}

/** The body of a sync message. */
function bodyOf (message) {
  let at = 2
  while (message[at] & 0x80) at++
  return new Uint8Array(message.subarray(at + 1))
}

export class Client {
  #socket
  #asked = []
  /** Called with each update. */
  onUpdate
  /** Called with the close code if the server ends the connection. */
  onClose

  static async open (url) {
    const client = new Client(new WebSocket(url, { perMessageDeflate: false, maxPayload: 2 ** 30 }))
    await new Promise((done, failed) => {
      client.#socket.once('open', done)
      client.#socket.once('error', failed)
    })
    return client
  }

  constructor (socket) {
    this.#socket = socket
    socket.on('message', (message) => this.#hear(message))
    socket.on('close', (code) => {
      this.onClose?.(code)
      for (const { failed } of this.#asked) failed(new Error(`closed with ${code}`))
    })
  }

  /** Asks for what is beyond a state vector; resolves to the update. */
  ask (vector) {
    const answer = new Promise((done, failed) => this.#asked.push({ done, failed }))
    this.#socket.send(sync(STEP_1, vector))
    return within(answer, 'answer')
  }

  /** Sends what the server lacks. */
  answer (update) {
    this.#socket.send(sync(STEP_2, update))
  }

  /** Sends an edit. */
  update (update) {
    this.#socket.send(sync(UPDATE, update))
  }

  close () {
    this.#socket.close()
  }

  #hear (message) {
    if (message[0] !== SYNC) return
    if (message[1] === STEP_1) this.answer(NOTHING)
    if (message[1] === STEP_2) this.#asked.shift()?.done(bodyOf(message))
    if (message[1] === UPDATE) this.onUpdate?.(bodyOf(message))
  }
}
