// Exports that are under way tell how far they are; when one is over, the list is loaded anew.
"use strict";
const numbers = new Intl.NumberFormat(document.documentElement.lang);

async function reload() {
  const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [old, fresh] = [document, page].map((whole) => whole.getElementById("exports"));
  if (!old || !fresh) return;
  old.replaceWith(document.importNode(fresh, true));
  listen();
}

function listen() {
  for (const line of document.querySelectorAll("[data-events]")) {
    const source = new EventSource(line.dataset.events);
    source.addEventListener("progress", (event) => {
      const { progress } = JSON.parse(event.data);
      const bar = line.querySelector("progress");
      if (progress.percent !== null) bar.value = progress.percent;
      const all = progress.rows_estimated === null ? "" : ` of ${numbers.format(progress.rows_estimated)}`;
      line.querySelector(".how-far").textContent = `${numbers.format(progress.rows_done)}${all} rows`;
    });
    source.addEventListener("end", () => {
      source.close();
      reload().catch(() => {});
    });
  }
}

listen();
