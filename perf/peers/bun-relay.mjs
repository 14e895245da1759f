// The least a server on Bun's WebSockets can do, which are uWebSockets in C++, for the generator's raw protocol: as
// `ws-relay.mjs`, with rooms as its own topics. Run with Bun.
const JOIN = 'J'.charCodeAt(0)

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    const { pathname } = new URL(request.url)
    if (!server.upgrade(request, { data: pathname })) return new Response('upgrade', { status: 426 })
  },
  websocket: {
    idleTimeout: 0,
    // As much as the baselines hold for a slow reader.
    backpressureLimit: 64 << 20,
    perMessageDeflate: false,
    open(socket) { socket.subscribe(socket.data) },
    message(socket, data) {
      const first = typeof data === 'string' ? data.charCodeAt(0) : data[0]
      if (first === JOIN) socket.send(data)
      else server.publish(socket.data, data)
    },
  },
})
