// How a scenario expects, waits and ends, whatever client it drives.

import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

// Bounds a failure; a machine under load may be slow, and a test is no stopwatch.
export const DEADLINE_MS = 60_000;

/** A failed expectation: its message alone must tell a reader what was expected and what was seen. */
export class Unmet extends Error {}

export function expectEqual(what, actual, expected) {
    if (isDeepStrictEqual(actual, expected)) return;
    const [seen, wanted] = [actual, expected].map(value => abridged(JSON.stringify(value)));
    throw new Unmet(`${what}: expected ${wanted}, saw ${seen}`);
}

export function expect(what, condition, seen) {
    if (!condition) throw new Unmet(`expected ${what}, saw ${abridged(JSON.stringify(seen))}`);
}

function abridged(text = "nothing") {
    return text.length > 2000 ? `${text.slice(0, 2000)}…` : text;
}

/** `promise`, or a failure when it takes longer than `ms`. */
export async function within(ms, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Unmet(`expected ${what} within ${ms} ms, saw nothing`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const waiting = new Set();
let recheckPending = false;

/** What clients wrote to the console, threw, or should not have been told. */
export const complaints = [];

/** To be called when a condition somebody waits for may have come true. */
export function changed() {
    if (recheckPending) return;
    recheckPending = true;
    setImmediate(() => {
        recheckPending = false;
        for (const recheck of [...waiting]) recheck();
    });
}

/** Waits until `isSo()`, asked again after everything that happens to a client. Fails at once on a complaint. */
export async function until(what, isSo, deadlineMs = DEADLINE_MS) {
    let recheck;
    const met = new Promise((resolve, reject) => {
        recheck = () => {
            try {
                expectEqual("errors reported by the clients", complaints, []);
                if (isSo()) resolve();
            } catch (error) {
                reject(error);
            }
        };
    });
    waiting.add(recheck);
    recheck();
    await within(deadlineMs, what, met).finally(() => waiting.delete(recheck));
}

/** Waits for a line on standard input. */
export async function untilLine(wanted, deadlineMs) {
    const lines = createInterface(process.stdin);
    await within(deadlineMs, `the line ${wanted} on standard input`, new Promise(resolve => {
        lines.on("line", line => line.trim() === wanted && resolve());
    }));
    lines.close();
}

/**
 * Runs `body` and ends the process; the exit code tells the result. After a failure `situation` has the lines that
 * describe every client. `run` names this run in the output.
 */
export async function conclude(run, body, situation, deadlineMs = 240_000) {
    const started = performance.now();
    try {
        const summary = await within(deadlineMs, `${run} to end`, body());
        console.log(`ok ${run}: ${summary} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
        process.exit(0);
    } catch (error) {
        console.error(`FAILED ${run}: ${error instanceof Unmet ? error.message : error.stack}`);
        for (const line of await situation()) console.error(line);
        process.exit(1);
    }
}
