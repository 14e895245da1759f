// Counts what crosses the network. The provider repairs a faulty stream silently (it reconnects and merges), so a
// scenario that looked at documents alone would pass against a broken server.

import * as decoding from "lib0/decoding";
import { WebSocket } from "ws";

/** First varuint of a message. */
export const MESSAGE = { sync: 0, awareness: 1, auth: 2, queryAwareness: 3, custom: 4 };
/** Second varuint of a sync message. */
export const SYNC = { step1: 0, step2: 1, update: 2 };

/**
 * A WebSocket class that adds a record to `sockets` for each connection. `changed` is called after everything worth a
 * second look, `complain` with what a client would trip over or lose.
 */
export function countedWebSocket(sockets, changed, complain) {
    return class CountedWebSocket extends WebSocket {
        constructor(...parameters) {
            super(...parameters);
            this.record = { opened: false, closed: null, framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0,
                step1In: 0, step2In: 0, updatesIn: 0, step1Out: 0, heard: new Map() };
            sockets.push(this.record);
            this.on("open", () => { this.record.opened = true; changed(); });
            this.on("close", code => { this.record.closed = code; changed(); });
            this.on("message", (data, isBinary) => this.received(data, isBinary));
        }

        send(data, ...rest) {
            this.record.framesOut++;
            this.record.bytesOut += data.length;
            if (data[0] === MESSAGE.sync && data[1] === SYNC.step1) this.record.step1Out++;
            super.send(data, ...rest);
        }

        received(data, isBinary) {
            this.record.framesIn++;
            this.record.bytesIn += data.byteLength;
            if (isBinary) this.note(decoding.createDecoder(new Uint8Array(data)));
            changed();
        }

        note(decoder) {
            const type = decoding.readVarUint(decoder);
            if (type === MESSAGE.sync) this.noteSync(decoder);
            else if (type === MESSAGE.awareness) this.noteAwareness(decoder);
            else return;
            // The provider reads the first message of a frame only.
            if (decoding.hasContent(decoder)) complain(`bytes behind a message of type ${type} in one frame`);
        }

        noteSync(decoder) {
            const counter = ["step1In", "step2In", "updatesIn"][decoding.readVarUint(decoder)];
            decoding.readVarUint8Array(decoder);
            this.record[counter]++;
        }

        noteAwareness(decoder) {
            for (const { id, clock, state } of awarenessEntries(decoding.readVarUint8Array(decoder))) {
                this.record.heard.set(id, { clock, state });
            }
        }
    };
}

/** Entries of an awareness update. */
export function awarenessEntries(update) {
    const decoder = decoding.createDecoder(update);
    return Array.from({ length: decoding.readVarUint(decoder) }, () => ({
        id: decoding.readVarUint(decoder),
        clock: decoding.readVarUint(decoder),
        state: JSON.parse(decoding.readVarString(decoder)),
    }));
}
