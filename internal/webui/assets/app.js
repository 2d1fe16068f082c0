// The little that pages cannot do without a script: count ages on, follow the
// event stream, switch the theme without a reload, copy a code, and stop a
// second press of a button. Everything works, slower, with this file absent.
"use strict";
(() => {
	const root = document.documentElement, body = document.body;
	root.classList.add("js");

	// Ages. The server's clock counts, carried on by the steady clock of the
	// browser: the phone's own date may be wrong.
	let base = Number(body.dataset.now), since = performance.now();
	const now = () => base + performance.now() - since;
	const age = (ms) => {
		const s = Math.floor(ms / 1000);
		if (s < 1) return "now";
		if (s < 60) return s + " s ago";
		if (s < 3600) return Math.floor(s / 60) + " min ago";
		if (s < 172800) return Math.floor(s / 3600) + " h ago";
		return Math.floor(s / 86400) + " d ago";
	};
	const ages = () => {
		for (const t of document.querySelectorAll("time[data-ago]")) {
			const text = age(now() - Date.parse(t.dateTime));
			if (t.textContent !== text) t.textContent = text;
		}
		for (const t of document.querySelectorAll("time[data-left]")) {
			const text = Math.max(0, Math.ceil((Date.parse(t.dateTime) - now()) / 1000)) + " s";
			if (t.textContent !== text) t.textContent = text;
		}
	};
	setInterval(ages, 1000);

	// Live pages. Fragments arrive as HTML made by the server and replace the
	// element of the same id. What the reader typed, opened or focused stays.
	const swap = (html) => {
		const box = document.createElement("template");
		box.innerHTML = html;
		for (const fresh of [...box.content.children]) {
			const old = document.getElementById(fresh.id);
			if (!old) continue;
			const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
			for (const el of old.querySelectorAll("input[id], textarea[id], select[id], details[id]")) {
				const twin = fresh.querySelector("#" + CSS.escape(el.id));
				if (!twin) continue;
				if (el.tagName === "DETAILS") twin.open = el.open;
				else if (el.type === "radio" || el.type === "checkbox") twin.checked = el.checked;
				else if (el.type !== "hidden") twin.value = el.value;
			}
			old.replaceWith(fresh);
			const again = focused && document.getElementById(focused);
			if (again) again.focus({ preventScroll: true });
		}
		ages();
	};
	const path = body.dataset.live, silent = 10000;
	if (path) {
		let stream, heard = performance.now(), wait = 1000, retry;
		const note = document.getElementById("not-live"), noteAge = document.getElementById("not-live-age");
		const alive = (e) => {
			heard = performance.now();
			wait = 1000;
			if (e.lastEventId) { base = Number(e.lastEventId); since = heard; }
			note.hidden = true;
			delete root.dataset.stale;
		};
		const open = () => {
			clearTimeout(retry);
			stream?.close();
			stream = new EventSource(path);
			stream.addEventListener("beat", alive);
			stream.addEventListener("part", (e) => { alive(e); swap(e.data); });
			stream.addEventListener("leave", () => location.reload());
			stream.onerror = () => { // the browser's own retries never grow nor give up
				stream.close();
				retry = setTimeout(open, wait * (0.7 + Math.random() * 0.6));
				wait = Math.min(wait * 2, 30000);
			};
		};
		setInterval(() => {
			const quiet = performance.now() - heard;
			if (document.hidden || quiet < silent) return;
			noteAge.textContent = age(quiet).replace(" ago", "");
			note.hidden = false;
			root.dataset.stale = "";
		}, 1000);
		// A hidden tab gives its connection back; coming back asks at once.
		const follow = () => {
			if (document.hidden) { clearTimeout(retry); stream?.close(); } else { heard = performance.now(); open(); }
		};
		document.addEventListener("visibilitychange", follow);
		addEventListener("pagehide", () => stream?.close());
		addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
		follow();
	}

	document.addEventListener("submit", (e) => {
		const form = e.target;
		if (form.matches("[data-theme-switch]")) {
			e.preventDefault();
			const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
			root.dataset.theme = dark ? "light" : "dark";
			document.cookie = "theme=" + root.dataset.theme + "; path=/; max-age=31536000; samesite=lax";
			return;
		}
		if (form.method === "post" && !form.matches("[data-stays]")) { // a second press must not send twice; a download leaves the page where it is
			for (const b of form.querySelectorAll("button")) setTimeout(() => { b.disabled = true; });
		}
	});
	document.addEventListener("click", async (e) => {
		if (e.target.closest("[data-print]")) return print();
		const button = e.target.closest("[data-copy]");
		if (!button) return;
		try {
			await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
			button.textContent = "Copied";
		} catch { // no clipboard on plain http: select it instead
			getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
		}
	});
})();
