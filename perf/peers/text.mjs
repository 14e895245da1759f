// Documents made with Yjs itself, the same ones each time: a fixed seed, fixed client ids.
import * as Y from 'yjs'

const NAME = 'codemirror'
const LETTERS = 'abcdefghijklmnopqrstuvwxyz     '
const DELETED_SHARE = 0.2

/** Numbers in 0..1 from a seed (a 32-bit Weyl sequence, mixed). */
function draws (seed) {
  return () => {
    seed = (seed + 0x9e3779b9) >>> 0
    let mixed = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
}

const letter = (draw) => LETTERS[Math.floor(draw() * LETTERS.length)]

function emptyText (clientID) {
  const doc = new Y.Doc()
  doc.clientID = clientID
  return [doc, doc.getText(NAME)]
}

/** The state, as one update, after so many edits at random places: mostly single letters, some deletions. */
export function generate (edits) {
  const [[doc, text], draw] = [emptyText(0x50000001), draws(1)]
  doc.transact(() => {
    for (let edit = 0; edit < edits; edit++) {
      const at = Math.floor(draw() * (text.length + 1))
      if (at < text.length && draw() < DELETED_SHARE) text.delete(at, 1)
      else text.insert(at, letter(draw))
    }
  })
  return Y.encodeStateAsUpdate(doc)
}

/** So many updates of one letter each, typed one behind the other. */
export function keystrokes (keys) {
  const [[doc, text], draw, updates] = [emptyText(0x50000002), draws(2), []]
  doc.on('update', (update) => updates.push(update))
  for (let key = 0; key < keys; key++) text.insert(key, letter(draw))
  return updates
}
