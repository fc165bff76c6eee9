// Keeps a page up to date: puts the parts that its server has rendered anew into their places, says whether the
// connection stands, and shows moments in the zone of whoever reads.
"use strict";

(() => {
  const zoned = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  function showMoments(within) {
    for (const each of within.querySelectorAll("time[datetime]")) {
      const when = new Date(each.dateTime);
      if (!Number.isNaN(when.getTime())) {
        each.textContent = zoned.format(when);
        each.title = full.format(when);
      }
    }
  }

  // What its reader has done to a part stays: what is open, where it is scrolled to, where the focus is.
  function put(part, html) {
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Map([...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
    const scrolled = [...part.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    part.innerHTML = html;
    for (const each of part.querySelectorAll("details[id]")) {
      each.open = open.get(each.id) ?? each.open;
    }
    [...part.querySelectorAll(".wide")].forEach((each, place) => { each.scrollLeft = scrolled[place] ?? 0; });
    showMoments(part);
    if (focused) {
      document.getElementById(focused)?.focus({ preventScroll: true });
    }
  }

  const connection = document.getElementById("connection");
  function say(text, state) {
    if (connection && connection.textContent !== text) {
      connection.textContent = text;
      connection.className = `connection ${state}`;
    }
  }

  showMoments(document);

  const where = document.body.dataset.live;
  if (!where) {
    return;
  }
  const QUIET = 40_000; // milliseconds: more than two heartbeats
  const AGAIN = 10_000;
  let source;
  let heard;

  function listen() {
    source = new EventSource(where);
    source.addEventListener("open", alive);
    source.addEventListener("heartbeat", alive);
    source.addEventListener("parts", (event) => {
      alive();
      for (const [id, html] of Object.entries(JSON.parse(event.data))) {
        const part = document.getElementById(id);
        if (part) {
          put(part, html);
        }
      }
    });
    source.addEventListener("error", () => {
      lost();
      if (source.readyState === EventSource.CLOSED) { // it was refused; the browser does not try again by itself
        setTimeout(comeBack, AGAIN);
      }
    });
  }

  // Whoever is no longer logged in is led to the login by the page itself.
  async function comeBack() {
    try {
      const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
      if (answer.status === 401) {
        location.reload();
        return;
      }
    } catch {
      // the server is not there yet
    }
    listen();
  }

  function alive() {
    say("live", "on");
    clearTimeout(heard);
    heard = setTimeout(() => {
      source.close();
      lost();
      listen();
    }, QUIET);
  }

  function lost() {
    say("connection lost, trying again", "off");
  }

  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); } });
  listen();
})();
