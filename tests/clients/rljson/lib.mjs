// What a scenario is made of: agents of folders, and waiting until they agree.

import { randomInt } from "node:crypto";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { complaints, changed, conclude, DEADLINE_MS, expectEqual, until, untilLine } from "../scenario.mjs";
import { Agent } from "./agent.mjs";

export { expect, expectEqual, until } from "../scenario.mjs";
export { HANDLERS, NO_ANSWER, RANGE_BYTES, ROUTE, TREE } from "./agent.mjs";
export { blobId, EMPTY_ROOT, hashOf } from "./rows.mjs";

const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrading: ["polling", "websocket"] };

/** What marks the name of a file that had to make way for another. */
export const COPY = / \(conflict /;

const agents = [];

/** The server under test. */
class Stage {
    constructor({ url, path, transport }) {
        this.url = url;
        this.path = path;
        this.transports = TRANSPORTS[transport];
    }

    /** An agent that is connected, by the transport of this run. */
    connect(name, options = {}) {
        const agent = new Agent(name, this, { transports: this.transports, ...options });
        agents.push(agent);
        return agent.connected();
    }

    /** Has whoever runs this scenario restart the server. */
    async restart() {
        console.log("READY-FOR-RESTART");
        await untilLine("RESTARTED", DEADLINE_MS);
    }
}

/** Waits until each has these files, or else as the first. */
export async function untilSame(these, files) {
    const names = these.map(({ name }) => name);
    await until(`${names} to have the same files`, () => {
        const wanted = files ?? these[0].files;
        return these.every(agent => !agent.isRestoring && isDeepStrictEqual(agent.files, wanted));
    });
}

/** Waits until each has what any of them wrote, under whatever name. */
export async function untilAllHave(these, texts) {
    await until(`${these.map(({ name }) => name)} to have ${texts}`, () => these.every(({ files }) => {
        const there = Object.values(files);
        return texts.every(text => there.includes(text));
    }));
    await untilSame(these);
}

/** Each has opened one connection, and is on it still. */
export function expectUndisturbed(these) {
    for (const { name, opens, disconnects, socket } of these) {
        expectEqual(`${name}: connections, disconnects, connected`, [opens, disconnects, socket.connected], [1, [], true]);
    }
}

/** Runs `body(stage)` against the server named on the command line; the exit code tells the result. */
export async function scenario(name, body) {
    const text = { type: "string" };
    const path = { type: "string", default: "/socket.io/" };
    const transport = { type: "string", default: "upgrading" };
    const { values } = parseArgs({ options: { url: text, path, transport } });
    if (!values.url || !TRANSPORTS[values.transport]) {
        const transports = Object.keys(TRANSPORTS).join("|");
        console.error(`usage: node ${name}.mjs --url=http://127.0.0.1:PORT [--path=/socket.io/] [--transport=${transports}]`);
        process.exit(2);
    }
    process.on("uncaughtException", error => { complaints.push(error.stack); changed(); });
    const run = `rljson-${name}-${randomInt(2 ** 31)} by ${values.transport}`;
    await conclude(run, async () => {
        const summary = await body(new Stage(values));
        expectEqual("errors reported by the clients", complaints, []);
        return summary;
    }, () => agents.slice(0, 10).flatMap(agent => agent.situation()));
}
