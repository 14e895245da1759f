// A stand-in for the gallery's original, written for this comparison: rooms on `ws` that do per message what the
// original does (one JSON.parse, then one JSON.stringify for each receiver) and nothing else: no limits, no
// passwords, no roles, no log line per message. So it costs less than the original.
import { WebSocketServer } from 'ws'

const rooms = new Map()
const send = (socket, event, data) => socket.send(JSON.stringify({ event, data }))

const join = (socket, user, { requestId, roomId, userInfo }) => {
  const room = rooms.get(roomId) ?? { roomId, users: [], state: {}, createdAt: Date.now(), members: new Map() }
  rooms.set(roomId, room)
  Object.assign(user, { ...userInfo, id: user.id, connected: true, lastSeen: Date.now() })
  for (const member of room.members.keys()) send(member, 'user_joined', { user })
  room.members.set(socket, user)
  const { members, ...roomInfo } = room
  send(socket, 'room_joined', { requestId, roomInfo: { ...roomInfo, users: [...members.values()] } })
  return room
}

new WebSocketServer({ host: '127.0.0.1', port: 0 }).on('connection', (socket, request) => {
  const user = { id: new URL(request.url, 'ws://localhost').searchParams.get('userId') }
  let room
  send(socket, 'connected', { userId: user.id })
  socket.on('message', (data) => {
    const message = JSON.parse(data)
    if (message.action === 'create_room') send(socket, 'room_created', message)
    if (message.action === 'join_room') room = join(socket, user, message)
    if (message.action !== 'broadcast' || !room) return
    for (const member of room.members.keys()) {
      if (member !== socket) send(member, 'message', { message: message.message, senderId: user.id })
    }
  })
  socket.on('close', () => room?.members.delete(socket))
  socket.on('error', () => socket.terminate())
})
