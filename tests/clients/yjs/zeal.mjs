// A small client of Zeal's native form: text frames to join and leave a room, the messages of Yjs in binary frames.

import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { applyAwarenessUpdate, Awareness, encodeAwarenessUpdate } from "y-protocols/awareness";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";
import { changed, complain, until } from "./lib.mjs";
import { countedWebSocket, MESSAGE } from "./wire.mjs";

/** A message: its type, then what `write(encoder)` writes. */
export function message(type, write = () => {}) {
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, type);
    write(encoder);
    return encoding.toUint8Array(encoder);
}

function fresh() {
    const doc = new Y.Doc();
    const awareness = new Awareness(doc);
    awareness.setLocalState(null);
    return [doc, awareness];
}

/** One connection; a document and awareness of its own for each room it joins. */
export class ZealClient {
    constructor(name, url) {
        this.name = name;
        this.sockets = [];
        this.events = []; // text frames, parsed
        this.customs = []; // payloads of CUSTOM messages
        this.eventsRead = 0;
        const Socket = countedWebSocket(this.sockets, changed, what => complain(`${name}: ${what}`));
        this.ws = new Socket(url);
        this.ws.on("message", (data, isBinary) => this.received(data, isBinary));
        this.ws.on("error", error => complain(`${name}: ${error.message}`));
        this.reset();
    }

    get socket() { return this.sockets[0]; }
    get text() { return this.doc.getText("text"); }

    opened() {
        return until(`${this.name} to be connected`, () => this.socket.opened);
    }

    say(value) {
        this.ws.send(typeof value === "string" ? value : JSON.stringify(value));
    }

    send(bytes) {
        this.ws.send(bytes);
    }

    /** The next text frame. */
    async event() {
        await until(`a text frame for ${this.name}`, () => this.events.length > this.eventsRead);
        return this.events[this.eventsRead++];
    }

    /** Joins and, as the README's example does, sends what it has to say without waiting for the answer. */
    join(room) {
        this.say({ action: "join", room });
        this.enter();
    }

    /** What is to be sent on arrival. */
    enter() {
        this.reset();
        this.send(message(MESSAGE.sync, encoder => writeSyncStep1(encoder, this.doc)));
        this.awareness.setLocalState({ user: this.name });
    }

    /** A new document and awareness; the old ones fall silent. */
    reset() {
        const [doc, awareness] = [this.doc, this.awareness] = fresh();
        doc.on("update", (update, origin) => {
            changed();
            if (origin === this || doc !== this.doc) return;
            this.send(message(MESSAGE.sync, encoder => writeUpdate(encoder, update)));
        });
        awareness.on("update", ({ added, updated, removed }, origin) => {
            changed();
            if (origin !== "local" || awareness !== this.awareness) return;
            this.send(this.awarenessMessage([...added, ...updated, ...removed]));
        });
    }

    awarenessMessage(ids) {
        const update = encodeAwarenessUpdate(this.awareness, ids);
        return message(MESSAGE.awareness, encoder => encoding.writeVarUint8Array(encoder, update));
    }

    /** Waits until the server has dealt with everything that was sent. Makes nothing good that was lost on the way. */
    async settled() {
        this.awareness.setLocalState(this.awareness.getLocalState());
        const { clientID: id, meta } = this.awareness;
        const { clock } = meta.get(id);
        await until(`the echo of ${this.name}'s state`, () => this.socket.heard.get(id)?.clock >= clock);
    }

    received(data, isBinary) {
        if (!isBinary) {
            this.events.push(JSON.parse(data));
            return;
        }
        const decoder = decoding.createDecoder(new Uint8Array(data));
        const type = decoding.readVarUint(decoder);
        if (type === MESSAGE.sync) this.sync(decoder);
        else if (type === MESSAGE.awareness) applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), this);
        else if (type === MESSAGE.custom) this.customs.push(JSON.parse(decoding.readVarString(decoder)));
        else complain(`${this.name} was sent a message of type ${type}`);
        changed();
    }

    sync(decoder) {
        const encoder = encoding.createEncoder();
        encoding.writeVarUint(encoder, MESSAGE.sync);
        readSyncMessage(decoder, encoder, this.doc, this);
        if (encoding.length(encoder) > 1) this.send(encoding.toUint8Array(encoder));
    }

    async close() {
        this.ws.close();
        await until(`${this.name} to be disconnected`, () => this.socket.closed !== null);
    }
}
