// What the console adds where scripts run: live figures, copying, keys. Pages work without it. It makes no HTML of text.
"use strict";

const root = document.body.dataset.root;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

// The server writes times in the zone that this cookie names. A first page is opened again in it, once.
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const has = /(?:^|; )penstock-zone=/.test(document.cookie);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (!has) {
    document.cookie = `penstock-zone=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Strict${secure}`;
  }
  for (const button of all(".my-zone")) {
    if (zone === "UTC") continue;
    button.value = zone;
    button.textContent = `Show ${zone}`;
    button.hidden = false;
  }
}

// Copying.
for (const button of all("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.querySelector(button.dataset.copy).textContent;
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  });
}

// What a filter is set to is taken over at once.
for (const select of all(".filters select")) select.addEventListener("change", () => select.form.requestSubmit());

// Live figures: the server makes the part anew, and its nodes take the place of the old ones.
const live = document.getElementById("live");
if (live) {
  const every = 5000;
  const pause = document.getElementById("pause");
  const age = document.getElementById("live-age");
  const said = document.getElementById("live-said");
  let paused = false, failures = 0, last = Date.now(), spoken = "", spokenAt = 0;

  const busy = () => live.contains(document.activeElement) || all("details[open]", live).length > 0 || !getSelection().isCollapsed;
  const done = () => live.querySelector("[data-done]") !== null; // nothing of it changes any more
  const tell = () => {
    document.querySelector(".live-switch").hidden = done();
    const seconds = Math.round((Date.now() - last) / 1000);
    age.textContent = failures >= 3 ? `stale for ${seconds} s` : paused ? `paused, ${seconds} s old` : "live, every 5 s";
    live.classList.toggle("stale", failures >= 3);
  };
  const take = (page) => {
    live.replaceChildren(...[...page.body.childNodes].map((n) => document.adoptNode(n)));
    last = Date.now();
    failures = 0;
    const verdict = live.querySelector(".verdict b")?.textContent ?? "";
    if (verdict !== spoken && Date.now() - spokenAt > 10000) {
      said.textContent = spoken === "" ? "" : live.querySelector(".verdict").textContent;
      spoken = verdict;
      spokenAt = Date.now();
    }
  };
  const poll = () => {
    tell();
    if (paused || document.hidden || busy() || done()) return;
    const ask = new XMLHttpRequest();
    ask.open("GET", live.dataset.live);
    ask.setRequestHeader("X-Requested-With", "live");
    ask.responseType = "document";
    ask.timeout = every;
    ask.onload = () => {
      if (ask.status === 401) {
        location.reload();
      } else if (ask.status === 200 && ask.response) {
        take(ask.response);
      } else {
        failures++;
      }
      tell();
    };
    ask.onerror = ask.ontimeout = () => { failures++; tell(); };
    ask.send();
  };
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    poll();
  });
  setInterval(poll, every);
  tell();
}

// Keys. Those of one letter are off in fields, and can be switched off.
{
  const dialog = document.getElementById("keys");
  const toggle = document.getElementById("keys-switch");
  let on = localStorage.getItem("penstock-keys") !== "off";
  const show = () => {
    toggle.textContent = on ? "On" : "Off";
    toggle.setAttribute("aria-pressed", String(on));
  };
  toggle.addEventListener("click", () => {
    on = !on;
    localStorage.setItem("penstock-keys", on ? "on" : "off");
    show();
  });
  show();

  let went = 0; // when g was pressed
  const step = (by) => {
    const rows = all("a.row");
    if (rows.length === 0) return;
    const at = rows.indexOf(document.activeElement);
    rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)].focus();
  };
  const follow = (selector) => document.querySelector(selector)?.click();
  const keys = {
    "?": () => dialog.showModal(),
    "/": () => (document.querySelector(".find") ?? document.querySelector("main input:not([type=hidden])"))?.focus(),
    "j": () => step(1),
    "k": () => step(-1),
    "[": () => follow('[data-turn="["]'),
    "]": () => follow('[data-turn="]"]'),
    "p": () => document.getElementById("pause")?.click(),
    "g": () => { went = Date.now(); },
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, textarea, [contenteditable]");
    if (!on || field || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const page = Date.now() - went < 1500 && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    went = 0;
    const act = page ? () => page.click() : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
