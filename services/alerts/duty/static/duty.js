// Brings the marked parts of the page up to date when the server says that something changed, and every minute.
// Without this script the page refreshes itself as a whole.
(function () {
  "use strict";
  var print = document.getElementById("print");
  if (print) {
    print.hidden = false;
    print.addEventListener("click", function () { window.print(); });
  }
  var live = document.querySelector("[data-live]");
  if (!live || !window.fetch || !window.DOMParser) return;
  var state = document.getElementById("state"), said = document.getElementById("said"), pause = document.getElementById("pause");
  var paused = false, busy = false, again = false, fromServer = false;

  function show(word) { state.textContent = word + "，更新于 " + new Date().toLocaleTimeString("zh-CN", { hour12: false, timeZone: "Asia/Shanghai" }) + "。"; }

  function place(part, text) {
    var focused = document.activeElement, address = part.contains(focused) && focused.getAttribute("href");
    part.innerHTML = text.innerHTML;
    if (!address) return;
    Array.prototype.some.call(part.querySelectorAll("a[href]"), function (link) {
      if (link.getAttribute("href") !== address) return false;
      link.focus({ preventScroll: true });
      return true;
    });
  }

  function refresh() {
    if (paused) return;
    if (busy) { again = true; return; }
    busy = true;
    fetch(location.href, { credentials: "same-origin" }).then(function (answer) {
      if (answer.status === 401) { location.reload(); return ""; }  // signed out
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.text();
    }).then(function (text) {
      if (!text) return;
      var fresh = new DOMParser().parseFromString(text, "text/html"), news = false;
      document.querySelectorAll("[data-fresh]").forEach(function (part) {
        var other = fresh.getElementById(part.id);
        if (!other || other.innerHTML === part.innerHTML) return;
        if (other.textContent.replace(/\s+/g, "") !== part.textContent.replace(/\s+/g, "")) news = true;
        place(part, other);
      });
      show(state.dataset.on);
      if (news && fromServer) said.textContent = "页面内容有更新。";
      fromServer = false;
    }).catch(function () { show(state.dataset.lost); }).then(function () {
      busy = false;
      if (again) { again = false; refresh(); }
    });
  }

  if (window.EventSource) {
    var source = new EventSource(live.dataset.live);
    source.addEventListener("changed", function () {
      fromServer = true;
      setTimeout(refresh, Math.random() * 1500);  // not all pages at once
    });
    window.addEventListener("pagehide", function () { source.close(); });
  }
  setInterval(refresh, 60000);
  show(state.dataset.on);
  pause.hidden = false;
  pause.addEventListener("click", function () {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "恢复自动更新" : "暂停自动更新";
    if (paused) state.textContent = state.dataset.off + "。"; else refresh();
  });
})();
