import { startGateway } from "./lib/gateway.mjs";
import { startBrowser, openProfile, signInAs } from "./lib/browser.mjs";
const g = await startGateway();
const b = await startBrowser(g);
try {
  const { context, page, complaints } = await openProfile(b);
  page.on("console", (m) => console.log("console", m.type(), m.text().slice(0, 300), m.location().url));
  await page.goto(g.url);
  await page.waitForTimeout(500);
  await page.screenshot({ path: "/tmp/shot-out.png", fullPage: true });
  await signInAs(page, g, "ada");
  await page.waitForTimeout(4000);
  console.log(await page.locator("#worker-state").textContent(), await page.locator("#worker-note").textContent());
  await page.screenshot({ path: "/tmp/shot-in.png", fullPage: true });
  console.log(complaints, await page.evaluate(async () => [Object.entries(localStorage), Object.entries(sessionStorage), await indexedDB.databases(), document.cookie]));
  console.log((await context.cookies()).map(({ value, ...c }) => c));
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 360, height: 740 });
  await page.screenshot({ path: "/tmp/shot-in-dark-360.png", fullPage: true });
} finally { await b.close(); await g.stop(); }
