// A page that names `data-live` parts loads itself anew each few seconds and puts the new parts in place of the old ones.
// Without this script the same page has a link to load it anew.
"use strict";
const parts = () => document.querySelectorAll("[data-live]");
const EVERY = 5000;

async function refresh() {
  if (document.hidden) return;
  // Whoever works within a part is not disturbed.
  const busy = document.activeElement && document.activeElement.closest("[data-live]");
  if (busy) return;
  const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts()) {
    const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (fresh) part.replaceWith(document.importNode(fresh, true));
  }
}

if (parts().length) setInterval(() => refresh().catch(() => {}), EVERY);
