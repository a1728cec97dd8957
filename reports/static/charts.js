// Numbers of a figure's marks: under the pointer, and by the arrow keys. Every mark has them as its label as well.
(function () {
  "use strict";
  var tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // a mark's own label says the same

  function line(className, text) {
    var made = document.createElement("div");
    made.className = className;
    made.textContent = text;
    if (text) tip.append(made);
  }

  function show(mark) {
    tip.textContent = "";
    var group = mark.closest("[data-name]").dataset; // the line that it is of
    line("tip-name", group.name);
    line("tip-where", [group.context, mark.dataset.where].filter(Boolean).join(", "));
    line("tip-said", mark.dataset.said);
    tip.hidden = false;
    var box = mark.getBoundingClientRect();
    var size = tip.getBoundingClientRect();
    var left = Math.min(Math.max(8, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 8);
    var top = box.top - size.height - 6;
    tip.style.left = left + scrollX + "px";
    tip.style.top = (top < 4 ? box.bottom + 6 : top) + scrollY + "px";
  }

  function hide() {
    tip.hidden = true;
  }

  function markOf(event) {
    return event.target instanceof Element ? event.target.closest(".mark") : null;
  }

  document.querySelectorAll("figure.chart svg").forEach(function (svg) {
    var marks = Array.from(svg.querySelectorAll(".mark"));
    if (!marks.length) return;
    // One stop of the tab key a figure; arrows move inside it.
    marks.forEach(function (mark, place) {
      mark.setAttribute("tabindex", place ? "-1" : "0");
    });
    svg.addEventListener("keydown", function (event) {
      var place = marks.indexOf(document.activeElement);
      if (event.key === "Escape") hide();
      if (place < 0) return;
      var steps = { ArrowRight: 1, ArrowLeft: -1, Home: -place, End: marks.length - 1 - place };
      var next = place + (steps[event.key] || 0);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        // The same epsilon of the next line, or of the one before.
        var step = event.key === "ArrowDown" ? 1 : -1;
        next = place + step;
        while (marks[next] && marks[next].dataset.where !== marks[place].dataset.where) next += step;
      }
      if (!(event.key in steps) && event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      if (!marks[next]) return;
      marks[place].setAttribute("tabindex", "-1");
      marks[next].setAttribute("tabindex", "0");
      marks[next].focus();
    });
    svg.addEventListener("pointerover", function (event) {
      var mark = markOf(event);
      if (mark) show(mark);
    });
    svg.addEventListener("pointerout", hide);
    svg.addEventListener("focusin", function (event) {
      var mark = markOf(event);
      if (mark) show(mark);
    });
    svg.addEventListener("focusout", hide);
  });
  document.body.append(tip);
})();
