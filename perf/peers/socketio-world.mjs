// CoMutiNy's world on npm's socket.io, written for this comparison: the events that the load generator speaks, as the
// original answers them, and nothing else: no database, no cleaning of payloads, one broadcast per update. So it costs
// less than the original.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const CHAT_KEPT = 50
const world = { id: 'hello-world', name: 'Hello World', description: 'A world to meet in' }
const spriteAtlas = { version: 1, updatedAt: null, sprites: [], lookup: {} }
const players = new Map()
const chat = []
let said = 0

const say = (playerId, author, content) => {
  const id = `${Date.now().toString(36)}-${(said++).toString(36).padStart(8, '0')}`
  const message = { id, playerId, author, content, timestamp: new Date().toISOString() }
  if (chat.push(message) > CHAT_KEPT) chat.shift()
  return message
}
say('system', 'System', 'Hello World')

const snapshot = () => ({ world, players: [...players.values()], chat, spriteAtlas })

const http = createServer()
new Server(http, { cors: { origin: '*' } }).on('connection', (socket) => {
  let player
  const refuse = (ack, message) => ack?.({ ok: false, message })
  const leave = () => {
    if (!player) return
    players.delete(player.id)
    // A socket that has gone may not broadcast in its own name.
    socket.nsp.except(socket.id).emit('player:left', { id: player.id })
    player = undefined
  }
  socket.emit('world:state', snapshot())
  socket.on('player:join', ({ playerId, name, position, animation, metadata }, ack) => {
    player = {
      id: playerId,
      name: name ?? `Player ${playerId}`,
      position: position ?? { x: 0, y: 0, z: 0 },
      animation: animation ?? 'idle',
      metadata: metadata ?? {}
    }
    players.set(playerId, player)
    ack?.({ ok: true, state: snapshot(), player })
    socket.broadcast.emit('player:joined', player)
  })
  socket.on('player:update', ({ position, animation, name, metadata }, ack) => {
    if (!player) return refuse(ack, 'Player not registered')
    if (position) player.position = position
    if (animation) player.animation = animation
    if (name) player.name = name
    if (metadata) Object.assign(player.metadata, metadata)
    ack?.({ ok: true, player })
    socket.broadcast.emit('player:updated', player)
  })
  socket.on('chat:message', ({ content }, ack) => {
    if (!player) return refuse(ack, 'Player not registered')
    const message = say(player.id, player.name, content)
    ack?.({ ok: true, message })
    socket.nsp.emit('chat:message', message)
  })
  socket.on('player:leave', (...args) => {
    leave()
    args.at(-1)?.({ ok: true })
  })
  socket.on('disconnect', leave)
})
http.listen(Number(process.env.PORT ?? 0), '127.0.0.1')
