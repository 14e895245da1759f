// Accounts as CoMutiNy's pages use them: register, be whom the cookie says in the world, log in again after the server was
// restarted. The server requires a login (--comutiny-require-login); guests need none.

import { expect, expectEqual, expectUndisturbed, scenario, settle, TRANSPORTS } from "../lib.mjs";

const headers = { "content-type": "application/json" };

await scenario("accounts", async stage => {
    const auth = stage.path.replace("socket.io/", "auth/");
    const ask = (page, options) => fetch(`${stage.url}${auth}${page}`, options);
    const send = (page, body) => ask(page, { method: "POST", headers, body: JSON.stringify(body) });
    const email = `${stage.run}@example.org`;
    const registration = { username: stage.run, email, password: "pass word" };

    const registered = await send("register", registration);
    const { user } = await registered.json();
    expectEqual("status of a registration", registered.status, 201);
    expectEqual("who it is", { ...user, id: "" }, { id: "", username: stage.run, email });
    expectEqual("status of another", (await send("register", registration)).status, 409);
    await inWorld(stage, "new", user, cookieOf(registered));

    await stage.restart();
    const wrong = await send("login", { email, password: "password" });
    expectEqual("a wrong password", [wrong.status, await wrong.json()], [401, { message: "Invalid credentials" }]);
    const known = await send("login", { email, password: "pass word" });
    expectEqual("who logs in", [known.status, await known.json()], [200, { user }]);
    const cookie = cookieOf(known);
    const me = await ask("me", { headers: { cookie } });
    expectEqual("who it is", [me.status, await me.json()], [200, { user }]);
    const bearer = `Bearer ${cookie.split("=")[1]}`;
    expectEqual("by header", (await ask("me", { headers: { authorization: bearer } })).status, 200);
    expectEqual("a stranger", (await ask("me")).status, 401);
    await inWorld(stage, "known", user, cookie);
    return "an account is who it is, in the world and after a restart";
});

function cookieOf(response) {
    const [cookie] = response.headers.getSetCookie();
    expect("a cookie for pages only", /^auth_token=[^;]+;.*HttpOnly; SameSite=Lax$/.test(cookie), cookie);
    return cookie.split(";")[0];
}

/** Plays as the account, which nobody else may; guests play, too. */
async function inWorld(stage, name, user, cookie) {
    for (const [by, transports] of Object.entries(TRANSPORTS)) {
        const client = await stage.connect(`${name}-${by}`, transports, { extraHeaders: { cookie } });
        const stranger = await stage.connect(`stranger-${name}-${by}`, transports);
        await stranger.refused("player:join", "playerId needs a login", { playerId: user.id, name });
        await client.refused("player:join", "playerId needs a login", { playerId: `${user.id}0`, name });
        client.id = user.id;
        stranger.id = `guest-${name}-${by}`;
        const player = await client.join();
        expectEqual("who plays", player.id, user.id);
        const guest = await stranger.join();
        await settle(client, [stranger]);
        expectEqual("who is seen", [client.players.has(guest.id), stranger.players.has(user.id)], [true, true]);
        expectUndisturbed([client, stranger]);
        client.disconnect();
        stranger.disconnect();
    }
}
