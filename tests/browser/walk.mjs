// Walks the pages of a running API in headless Chromium and says what is wrong with them. Reads what to walk as JSON from standard input
// (see tests/src/browser.rs) and writes what it found as one line of JSON.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import puppeteer from 'puppeteer-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const wanted = JSON.parse(readFileSync(0, 'utf8'));
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
// Of pages that differ in ids or values only, so many are looked at.
const OF_ONE_SHAPE = 2;
const MOST_PAGES = 80;
const VIEWS = [
  { name: 'phone-light', width: 390, height: 844, scheme: 'light' },
  { name: 'desktop-dark', width: 1280, height: 900, scheme: 'dark' },
];

async function launch() {
  const common = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'];
  if (wanted.program) {
    return puppeteer.launch({ executablePath: wanted.program, headless: true, args: common });
  }
  const { default: chromium } = await import('@sparticuz/chromium');
  return puppeteer.launch({ executablePath: await chromium.executablePath(), headless: 'shell', args: [...chromium.args, ...common] });
}

const shape = (url) => {
  const path = url.pathname.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '{id}').replace(/\/[A-Za-z0-9_-]{30,}/g, '/{token}');
  return `${path}?${[...url.searchParams.keys()].sort().join('&')}`;
};

// What a page says of itself in the page.
const LINKS = () => [...document.querySelectorAll('a[href]:not([download])')].map((a) => a.href);
const INTERACTIVE = () => {
  // What lies in closed details is not there.
  const shown = (el) => el.getClientRects().length > 0 && el.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')];
  return all.filter((el) => shown(el) && !el.disabled && el.tabIndex >= 0 && el.type !== 'hidden').filter((el) => {
    // One Tab stops at a group of radio buttons, not at each of them.
    if (el.type !== 'radio') return true;
    const group = [...document.querySelectorAll(`input[type=radio][name="${CSS.escape(el.name)}"]`)].filter((one) => one.form === el.form);
    return el === (group.find((one) => one.checked) ?? group[0]);
  });
};

async function look(page, path, status, found) {
  const problem = (what) => found.problems.push(`${path}: ${what}`);
  for (const view of VIEWS) {
    await page.setViewport({ width: view.width, height: view.height });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: view.scheme }]);
    await page.evaluate(`${axe}; null`);
    const result = await page.evaluate((tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), TAGS);
    for (const broken of result.violations) {
      const nodes = broken.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${node.failureSummary?.split('\n')[1]?.trim() ?? ''})`);
      problem(`${view.name}: axe ${broken.id}: ${nodes.join('; ')}`);
    }
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 1) problem(`${view.name}: is ${over} px wider than the screen`);
    if (wanted.shots) {
      const name = `${found.role}${path.replace(/[^a-z0-9]+/gi, '-').slice(0, 80)}-${status}.${view.name}.png`;
      await page.screenshot({ path: `${wanted.shots}/${name}`, fullPage: true });
    }
  }
  await keys(page, problem);
}

// Tab reaches everything, and shows where it is.
async function keys(page, problem) {
  const expected = await page.evaluate(`{ const all = (${INTERACTIVE})(); all.forEach((el, at) => { el.dataset.stop = at; }); document.activeElement?.blur?.(); all.length; }`);
  // A field for a day or a time takes a Tab for each of its parts, and shows the focus at one of them at least.
  const seen = new Map();
  for (let press = 0; press < expected * 5 + 5 && seen.size < expected; press += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const el = document.activeElement;
      const style = getComputedStyle(el);
      const shows = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
      return { stop: el.dataset.stop, shows, tag: el.outerHTML.slice(0, 80) };
    });
    if (at.stop === undefined) continue;
    seen.set(at.stop, { tag: at.tag, shows: at.shows || seen.get(at.stop)?.shows });
  }
  for (const { tag, shows } of seen.values()) if (!shows) problem(`keyboard: nothing shows that the focus is at ${tag}`);
  if (seen.size < expected) {
    const missed = await page.evaluate((reached) => {
      const all = [...document.querySelectorAll('[data-stop]')].filter((el) => !reached.includes(el.dataset.stop));
      return all.slice(0, 3).map((el) => el.outerHTML.slice(0, 100));
    }, [...seen.keys()]);
    problem(`keyboard: Tab does not reach ${missed.join(', ')}`);
  }
}

async function signIn(page, role) {
  await page.goto(`${wanted.base}/sign-in`);
  await page.type('input[name=email]', role.email);
  await page.type('input[name=password]', role.password);
  await Promise.all([page.waitForNavigation(), page.click('form:has(input[name=password]) button')]);
}

async function walk(browser, role) {
  const found = { role: role.name, pages: [], problems: [] };
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  let at = '';
  page.on('console', (message) => {
    // The browser says of each refusal that it is one.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) found.problems.push(`${at}: console: ${message.text()}`);
  });
  page.on('pageerror', (error) => found.problems.push(`${at}: script: ${error.message}`));
  const queue = [...(role.pages ?? [])].map((path) => new URL(path, wanted.base));
  if (role.email) {
    await signIn(page, role);
    queue.push(new URL(page.url()));
  }
  const shapes = new Map();
  const known = new Set();
  while (queue.length > 0 && found.pages.length < MOST_PAGES) {
    const url = queue.shift();
    url.hash = '';
    const times = shapes.get(shape(url)) ?? 0;
    if (known.has(url.href) || times >= OF_ONE_SHAPE || url.origin !== new URL(wanted.base).origin) continue;
    known.add(url.href);
    shapes.set(shape(url), times + 1);
    at = url.pathname + url.search;
    const response = await page.goto(url.href, { waitUntil: 'load' });
    const kind = response?.headers()['content-type'] ?? '';
    if (!kind.startsWith('text/html')) continue;
    const ended = new URL(page.url());
    found.pages.push({ path: at, ended: ended.pathname, status: response.status() });
    known.add(ended.href);
    await look(page, ended.pathname + ended.search, response.status(), found);
    if (role.follow !== false) queue.push(...(await page.evaluate(LINKS)).map((href) => new URL(href)));
  }
  await context.close();
  return found;
}

// A visit is cancelled by somebody whose browser runs no scripts.
async function withoutScripts(browser, role) {
  const found = { role: 'without scripts', pages: [], problems: [] };
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setJavaScriptEnabled(false);
  await signIn(page, role);
  await page.goto(`${wanted.base}${role.visit}`);
  const reason = await page.$('form[action$="/cancel"] select[name=reason]');
  if (reason) await reason.select('clinic');
  const summary = await page.$('details:has(form[action$="/cancel"]) > summary');
  if (summary) await summary.click();
  await Promise.all([page.waitForNavigation(), page.click('form[action$="/cancel"] button')]);
  const text = await page.evaluate(() => document.body.innerText);
  if (!/cancelled/i.test(text)) found.problems.push(`${role.visit}: it is not cancelled: ${text.slice(0, 300)}`);
  found.pages.push({ path: role.visit, ended: new URL(page.url()).pathname, status: 200 });
  await context.close();
  return found;
}

if (wanted.shots) mkdirSync(wanted.shots, { recursive: true });
const browser = await launch();
const results = [];
const roles = [...wanted.roles];
// Two at a time: there are two cores.
await Promise.all([0, 1].map(async () => {
  for (let role = roles.shift(); role; role = roles.shift()) results.push(await walk(browser, role));
}));
if (wanted.plain) results.push(await withoutScripts(browser, wanted.plain));
await browser.close();
console.log(`walk: ${JSON.stringify(results)}`);
