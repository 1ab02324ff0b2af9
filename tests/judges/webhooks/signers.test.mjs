// Sends webhooks that the npm packages `svix` and `standardwebhooks` have signed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

import { start } from "./gateway.mjs";

let gateway;
before(async () => {
  gateway = await start();
});
after(() => gateway.stop());

const signers = [
  { name: "svix", make: (secret) => new Svix(secret), prefix: "svix" },
  { name: "standardwebhooks", make: (secret) => new Standard(secret), prefix: "webhook" },
];

function event(type, who, at) {
  const email = { id: "idn_1", email_address: `${who}@example.com`, verification: { status: "verified" } };
  const data = { id: `user_${who}`, username: who, first_name: "Grüße", last_name: "世界", updated_at: at,
    primary_email_address_id: "idn_1", email_addresses: [email], public_metadata: { roles: ["supervisor"] } };
  return JSON.stringify({ object: "event", type, timestamp: at, data });
}

for (const { name, make, prefix } of signers) {
  const sign = (secret, id, at, body) => ({
    [`${prefix}-id`]: id,
    [`${prefix}-timestamp`]: String(Math.floor(at.getTime() / 1000)),
    [`${prefix}-signature`]: make(secret).sign(id, at, body),
  });

  test(`${name}: a delivery is accepted and applied, and undone`, async () => {
    const now = new Date();
    const body = event("user.created", `${name}-ada`, now.getTime());
    const accepted = await gateway.deliver(sign(gateway.secret, `msg_${name}_1`, now, body), body);
    assert.equal(accepted.status, 202);
    assert.deepEqual(await accepted.json(), { accepted: 1 });
    const user = await gateway.user(`${name}-ada`, (one) => !one.deactivated);
    assert.equal(user.full_name, "Grüße 世界");
    assert.deepEqual(user.roles, ["supervisor"]);

    const gone = event("user.deleted", `${name}-ada`, now.getTime() + 1);
    assert.equal((await gateway.deliver(sign(gateway.secret, `msg_${name}_2`, now, gone), gone)).status, 202);
    await gateway.user(`${name}-ada`, (one) => one.deactivated);
  });

  test(`${name}: an altered body, another key, an old time and a missing header are refused`, async () => {
    const now = new Date();
    const body = event("user.created", `${name}-eve`, now.getTime());
    const good = sign(gateway.secret, "msg_3", now, body);
    const other = `whsec_${Buffer.alloc(24, "other key").toString("base64")}`;
    const old = new Date(now.getTime() - 301_000);
    const ahead = new Date(now.getTime() + 305_000);
    const { [`${prefix}-id`]: _id, ...without } = good;
    for (const [headers, sent] of [
      [good, `${body} `],
      [good, event("user.created", "mallory", now.getTime())],
      [sign(other, "msg_3", now, body), body],
      [sign(gateway.secret, "msg_3", old, body), body],
      [sign(gateway.secret, "msg_3", ahead, body), body],
      [without, body],
    ]) {
      const answer = await gateway.deliver(headers, sent);
      assert.equal(answer.status, 401);
      assert.equal((await answer.json()).code, "delivery_unproven");
    }
  });

  test(`${name}: of two signatures one is enough`, async () => {
    const now = new Date();
    const body = event("user.created", `${name}-two`, now.getTime());
    const headers = sign(gateway.secret, `msg_${name}_4`, now, body);
    const other = `whsec_${Buffer.alloc(24, "other key").toString("base64")}`;
    headers[`${prefix}-signature`] = `${make(other).sign(`msg_${name}_4`, now, body)} ${headers[`${prefix}-signature`]}`;
    assert.equal((await gateway.deliver(headers, body)).status, 202);
  });
}
