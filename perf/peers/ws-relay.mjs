// The least a server on `ws` can do, for the generator's raw protocol: rooms by path; a message that starts with `J`
// is answered to its sender alone, any other goes to everybody in the room as it came.
import { WebSocketServer } from 'ws'

const JOIN = 'J'.charCodeAt(0)
const rooms = new Map()

new WebSocketServer({ host: '127.0.0.1', port: 0 }).on('connection', (socket, request) => {
  const members = rooms.get(request.url) ?? new Set()
  rooms.set(request.url, members.add(socket))
  socket.on('message', (data, binary) => {
    if (data[0] === JOIN) return socket.send(data, { binary })
    for (const member of members) member.send(data, { binary })
  })
  socket.on('close', () => members.delete(socket))
  socket.on('error', () => socket.terminate())
})
