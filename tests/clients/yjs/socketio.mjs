// A client that does what Zeal's web client does, over the published Socket.IO client: one event to join, then the
// messages of Yjs as arrays of numbers, in its order and with its pauses.

import { io } from "socket.io-client";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { applyAwarenessUpdate, Awareness, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";
import { changed, complain, until } from "./lib.mjs";
import { awarenessEntries, MESSAGE } from "./wire.mjs";
import { message } from "./zeal.mjs";

// Zeal's own pauses.
const JOIN_AFTER_MS = 100;
const AWARENESS_AFTER_MS = 500;
const QUERY_AFTER_MS = 1000;
const DEBOUNCE_MS = 100;
const HEARTBEAT_MS = 20_000;
/** Longer ones its client does not send as they are made; its next join brings them. */
const UPDATE_BYTES_MAX = 10_000;

export class SocketIoClient {
    /** `transports` as for `io`. */
    constructor(name, { url, path, room, transports = ["websocket"], auth = {} }) {
        this.name = name;
        this.room = room;
        this.doc = new Y.Doc();
        this.awareness = new Awareness(this.doc);
        this.joined = false;
        this.provider = { synced: false }; // as clients of y-websocket have it
        this.sockets = []; // connections to the namespace
        this.heard = new Map(); // awareness by client id, as the server last told it
        this.customs = [];
        this.errors = []; // arguments of crdt:error
        this.timers = new Set();
        this.io = io(url, {
            path, transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 400,
            auth: { token: null, userId: name, userName: name, ...auth },
        });
        this.io.on("connect", () => this.connected());
        this.io.on("disconnect", reason => this.disconnected(reason));
        this.io.on("crdt:joined", joined => this.entered(joined));
        // Its client takes both forms.
        this.io.on("crdt:message", (...args) => this.received(...(args.length === 1 ? args[0] : args)));
        this.io.on("crdt:error", error => { this.errors.push(error); changed(); });
        this.doc.on("update", (update, origin) => {
            changed();
            if (origin === this || !this.joined || update.length > UPDATE_BYTES_MAX) return;
            this.send(message(MESSAGE.sync, encoder => writeUpdate(encoder, update)));
        });
        this.awareness.on("update", (_, origin) => {
            changed();
            if (origin === "local") this.announceSoon();
        });
    }

    get id() { return this.doc.clientID; }
    get text() { return this.doc.getText("text"); }
    get transport() { return this.io.io.engine.transport.name; }
    /** States it knows of, by client id, its own left out. */
    get others() { return new Map([...this.awareness.getStates()].filter(([id]) => id !== this.id)); }

    after(ms, act) {
        const timer = setTimeout(() => { this.timers.delete(timer); act(); }, ms);
        this.timers.add(timer);
    }

    connected() {
        this.sockets.push({ closed: null });
        this.after(JOIN_AFTER_MS, () => this.join());
        changed();
    }

    disconnected(reason) {
        this.sockets.at(-1).closed = reason;
        this.left();
    }

    left() {
        this.joined = this.provider.synced = false;
        for (const timer of this.timers) clearTimeout(timer);
        this.timers.clear();
        this.announcing = false;
        removeAwarenessStates(this.awareness, [...this.others.keys()], this);
        changed();
    }

    join(room = this.room) {
        this.room = room;
        this.io.emit("crdt:join", room);
    }

    entered({ roomName, clientId }) {
        if (roomName !== this.room || clientId !== this.io.id) {
            complain(`${this.name} was told that it is ${clientId} in ${roomName}`);
        }
        this.joined = true;
        const auth = JSON.stringify({ token: null, userId: this.name, userName: this.name });
        this.send(message(MESSAGE.auth, encoder => encoding.writeVarString(encoder, auth)));
        this.send(message(MESSAGE.sync, encoder => writeSyncStep1(encoder, this.doc)));
        const whole = Y.encodeStateAsUpdate(this.doc);
        this.send(message(MESSAGE.sync, encoder => writeUpdate(encoder, whole)));
        this.after(AWARENESS_AFTER_MS, () => this.announce());
        this.after(QUERY_AFTER_MS, () => this.send(message(MESSAGE.queryAwareness)));
        this.beat();
        changed();
    }

    beat() {
        this.after(HEARTBEAT_MS, () => {
            this.say({ type: "heartbeat", timestamp: Date.now() });
            this.announce();
            this.beat();
        });
    }

    /** A message of the application's own. */
    say(value) {
        this.send(message(MESSAGE.custom, encoder => encoding.writeVarString(encoder, JSON.stringify(value))));
    }

    send(bytes, room = this.room) {
        this.io.emit("crdt:message", room, [...bytes]);
    }

    announceSoon() {
        if (this.announcing || !this.joined) return;
        this.announcing = true;
        this.after(DEBOUNCE_MS, () => { this.announcing = false; this.announce(); });
    }

    /** Its own state, without a length before it. */
    announce() {
        const update = encodeAwarenessUpdate(this.awareness, [this.id]);
        this.send(message(MESSAGE.awareness, encoder => encoding.writeUint8Array(encoder, update)));
    }

    received(room, numbers) {
        if (room !== this.room) complain(`${this.name} in ${this.room} was sent a message of ${room}`);
        const decoder = decoding.createDecoder(Uint8Array.from(numbers));
        const type = decoding.readVarUint(decoder);
        if (type === MESSAGE.sync) this.sync(decoder);
        else if (type === MESSAGE.awareness) this.hear(decoding.readTailAsUint8Array(decoder));
        else if (type === MESSAGE.custom) this.customs.push(JSON.parse(decoding.readVarString(decoder)));
        else if (type !== MESSAGE.auth) complain(`${this.name} was sent a message of type ${type}`);
        changed();
    }

    sync(decoder) {
        const encoder = encoding.createEncoder();
        encoding.writeVarUint(encoder, MESSAGE.sync);
        const kind = readSyncMessage(decoder, encoder, this.doc, this);
        if (kind === 1) this.provider.synced = true;
        if (encoding.length(encoder) > 1) this.send(encoding.toUint8Array(encoder));
    }

    hear(update) {
        for (const { id, clock, state } of awarenessEntries(update)) this.heard.set(id, { clock, state });
        applyAwarenessUpdate(this.awareness, update, this);
    }

    synced() {
        return until(`${this.name} to be synced`, () => this.provider.synced);
    }

    /** Waits until the server has dealt with all that was sent: the echo of its state comes behind that. */
    async settled() {
        await this.synced();
        this.awareness.setLocalState(this.awareness.getLocalState() ?? {});
        const { clock } = this.awareness.meta.get(this.id);
        await until(`the echo of ${this.name}'s state`, () => this.heard.get(this.id)?.clock >= clock);
    }

    /** The last of its errors, when there is one more. */
    async error(provoke) {
        const { length } = this.errors;
        provoke();
        await until(`an error for ${this.name}`, () => this.errors.length > length);
        return this.errors.at(-1);
    }

    leave() {
        this.io.emit("crdt:leave", this.room);
        this.left();
    }

    /** Drops its connection without a word to the server. It comes back by itself. */
    cut() {
        this.io.io.engine.transport.ws.terminate();
    }

    close() {
        this.io.disconnect();
    }
}
