// A connection that sends what no client would.

import { WebSocket } from "ws";
import { DEADLINE_MS, within } from "./lib.mjs";
import { MESSAGE, SYNC } from "./wire.mjs";

/** A question that is always in order: a server that answers it was not troubled by what came before. */
export const PROBE = Uint8Array.of(MESSAGE.sync, SYNC.step1, 1, 0);

export class Raw {
    constructor(url) {
        this.ws = new WebSocket(url);
        this.ws.binaryType = "arraybuffer";
    }

    /** Sends `frame`, then a good one; tells which came first: an answer to the latter, an error, or the end. */
    async offer(frame, what) {
        const { ws } = this;
        const fate = new Promise(resolve => {
            ws.on("error", () => {}); // a reset is as good as an end
            ws.on("close", code => resolve(`closed with ${code}`));
            ws.on("message", (data, isBinary) => {
                if (!isBinary) return JSON.parse(data).event === "error" && resolve("told off");
                const [type, kind] = new Uint8Array(data);
                if (type === MESSAGE.sync && kind === SYNC.step2) resolve("answered");
            });
        });
        ws.on("open", () => {
            ws.send(frame);
            ws.send(PROBE);
        });
        return within(DEADLINE_MS, `a fate for ${what}`, fate).finally(() => ws.terminate());
    }
}
