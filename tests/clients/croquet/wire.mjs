// Instruments what the SDK does on the network. The SDK heals itself silently (a wrong sequence number only makes
// it reconnect and replay), so a scenario that looked at models alone would pass against a broken server.

import { WebSocket } from "ws";

/** One record per WebSocket the SDK has opened, in order. */
export const sockets = [];
/** Bodies fetched from the file server: `{ url, status }`. (Uploads run in the SDK's worker: see SNAP and SAVE.) */
export const downloads = [];

const live = new Map(); // record -> socket

/** Replaces the global WebSocket and fetch; `changed` is called after everything worth a second look. */
export function instrument(changed) {
    globalThis.WebSocket = class CountedWebSocket extends WebSocket {
        constructor(url, ...rest) {
            super(url, ...rest);
            this.record = { opened: false, closed: null, framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, chunks: 0,
                recvs: 0, sessions: [], syncs: [], snaps: [], saves: [], left: [] };
            this.partial = "";
            sockets.push(this.record);
            this.on("open", () => { this.record.opened = true; live.set(this.record, this); changed(); });
            this.on("close", code => { this.record.closed = code; live.delete(this.record); changed(); });
            this.on("message", data => this.received(data.toString()));
        }

        send(text, ...rest) {
            this.record.framesOut++;
            this.record.bytesOut += Buffer.byteLength(text);
            super.send(text, ...rest);
            const { action, args } = JSON.parse(text);
            if (action === "SNAP") this.record.snaps.push(args.url);
            if (action === "SAVE") this.record.saves.push(args.url);
            if (action === "SNAP" || action === "SAVE") changed();
        }

        received(text) {
            this.record.framesIn++;
            this.record.bytesIn += Buffer.byteLength(text);
            if (text.startsWith("_CHUNK")) { // `_CHUNK`, is-first flag, is-last flag, slice
                this.record.chunks++;
                this.partial = (text[6] === "1" ? "" : this.partial) + text.slice(8);
                if (text[7] !== "1") return;
                text = this.partial;
            }
            const { id, action, args } = JSON.parse(text);
            if (id && !this.record.sessions.includes(id)) this.record.sessions.push(id);
            if (action === "SYNC") this.synced(args);
            if (action === "RECV") this.record.recvs++;
            if (action === "RECV" && args[2].what === "users") this.usersChanged(args[2]);
        }

        synced({ messages, url, persisted, timeline, time, seq }) {
            this.record.syncs.push({ messages: messages.length, url, persisted: !!persisted, timeline, time, seq });
            changed();
        }

        usersChanged({ left = [] }) {
            this.record.left.push(...left);
            if (left.length) changed();
        }
    };

    const plainFetch = globalThis.fetch;
    globalThis.fetch = async (url, options) => {
        const response = await plainFetch(url, options);
        downloads.push({ url: `${url}`, status: response.status });
        return response;
    };
}

/** Drops every open connection the way a dead network does: no closing handshake. */
export function cutConnections() {
    for (const socket of live.values()) socket.terminate();
}
