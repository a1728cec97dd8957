// Tables by DataTables: sorting, search, filters and CSV. Rows come from the page itself, never from elsewhere.
(function () {
  "use strict";

  // A stored fraction as pages print it: points, two decimals, halves to the even digit as in Python. 100 x is an exact
  // half of the last digit only where it is an odd number of eighths; toFixed then goes away from zero.
  function points(value) {
    if (value === null) return "";
    var hundredfold = 100 * value;
    var eighths = Math.abs(hundredfold) * 8;
    if (eighths % 8 === 1 || eighths % 8 === 5) {
      return (hundredfold - Math.sign(hundredfold) * 0.005).toFixed(2);
    }
    return hundredfold.toFixed(2);
  }

  // What is no number stays at the end, whichever way a column is sorted.
  function ordered(direction) {
    return function (a, b) {
      var hasA = a !== "" && a !== null;
      var hasB = b !== "" && b !== null;
      if (!hasA || !hasB) return hasA === hasB ? 0 : hasA ? -1 : 1;
      return direction * (Number(a) - Number(b));
    };
  }
  DataTable.ext.type.order["points-asc"] = ordered(1);
  DataTable.ext.type.order["points-desc"] = ordered(-1);

  function element(tag, className, text) {
    var made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function nameElement(entry) {
    var inner = element("bdi", "name", entry.short || entry.full);
    if (entry.short) inner.title = entry.full.slice(0, 400);
    if (!entry.href) return inner;
    var link = element("a");
    link.href = entry.href;
    link.append(inner);
    return link;
  }

  function column(spec) {
    if (spec.kind === "points") {
      return {
        title: spec.title,
        className: "num",
        type: "points",
        render: function (value, type) {
          return type === "sort" || type === "export" ? value : value === null ? "–" : points(value);
        },
      };
    }
    return {
      title: spec.title,
      className: "col-" + spec.name,
      type: spec.values.length && "order" in spec.values[0] ? "points" : "string",
      render: function (place, type) {
        var entry = spec.values[place];
        if (type === "display") {
          return spec.name === "status" ? element("span", "status " + entry.full, entry.full) : nameElement(entry);
        }
        return type === "sort" && "order" in entry ? entry.order : entry.full;
      },
    };
  }

  // A spreadsheet takes what begins so for a formula; numbers are none.
  function inert(value) {
    var text = value === null || value === undefined ? "" : String(value);
    return /^[=+\-@\t\r]/.test(text) && !/^-?[\d.]+(e-?\d+)?$/.test(text) ? "'" + text : text;
  }

  function exportButton(table, specs) {
    return {
      extend: "csvHtml5",
      text: "CSV",
      titleAttr: "Download the rows shown, with the stored values",
      title: "",
      filename: document.title.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) + "-" + table.dataset.name,
      escapeExcelFormula: false, // inert() does it, and leaves numbers alone
      bom: true,
      exportOptions: {
        orthogonal: "export",
        modifier: { search: "applied", order: "applied" },
        format: {
          header: function (text, place) {
            return inert(specs ? specs[place].name : table.tHead.rows[0].cells[place].dataset.export);
          },
          body: function (value, row, place, cell) {
            if (specs || !cell) return inert(value);
            var text = "export" in cell.dataset ? cell.dataset.export : "order" in cell.dataset ? cell.dataset.order : cell.textContent.trim();
            var status = cell.querySelector(".status");
            return inert(status && !("export" in cell.dataset) ? status.textContent : text);
          },
        },
      },
    };
  }

  // A choice among values of a column: `known` gives [value, what is shown] of each, `has` says whether a row has one.
  function addFilter(api, bar, table, place, title, name, known, has) {
    var select = element("select");
    select.id = table.id + "-" + name;
    select.dataset.filter = name;
    select.append(new Option("all", ""));
    known.forEach(function (pair) {
      select.append(new Option(pair[1], pair[0]));
    });
    select.addEventListener("change", function () {
      var wanted = select.value;
      api
        .column(place)
        .search.fixed("filter", wanted === "" ? null : function (text, data, row) {
          return has(data, row, wanted);
        })
        .draw();
    });
    var label = element("label", "filter", title);
    label.htmlFor = select.id;
    label.append(select);
    bar.append(label);
  }

  function addFilters(api, specs, bar, table) {
    specs.forEach(function (spec, place) {
      if (!spec.filter) return;
      var known = spec.values
        .map(function (entry, index) {
          return { entry: entry, index: index };
        })
        .sort(function (a, b) {
          return "order" in a.entry ? a.entry.order - b.entry.order : a.entry.full < b.entry.full ? -1 : 1;
        })
        .map(function (found) {
          return [String(found.index), found.entry.short || found.entry.full];
        });
      addFilter(api, bar, table, place, spec.title, spec.name, known, function (data, row, wanted) {
        return String(data[place]) === wanted;
      });
    });
  }

  // Of a table that stands in the page: by what its cells say of themselves.
  function addCellFilters(api, bar, table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, place) {
      if (!head.dataset.filter) return;
      var values = api
        .rows()
        .nodes()
        .toArray()
        .map(function (row) {
          return row.cells[place].dataset.filter || "";
        });
      var known = Array.from(new Set(values))
        .filter(Boolean)
        .sort()
        .map(function (value) {
          return [value, value];
        });
      if (known.length < 2) return;
      addFilter(api, bar, table, place, head.textContent.trim(), head.dataset.filter, known, function (data, row, wanted) {
        return values[row] === wanted;
      });
    });
  }

  var words = {
    search: "Search",
    lengthMenu: "_MENU_ rows a page",
    info: "_START_ to _END_ of _TOTAL_",
    infoFiltered: "(of _MAX_)",
    infoEmpty: "none",
    emptyTable: "No rows.",
    zeroRecords: "No row matches.",
  };

  function enhance(table) {
    var source = table.dataset.source ? JSON.parse(document.getElementById(table.dataset.source).textContent) : null;
    var specs = source ? source.columns : null;
    var bar = element("div", "filters");
    var pageLength = Number(table.dataset.page || 25);
    var count = source ? source.rows.length : table.tBodies[0].rows.length;
    var settings = {
      autoWidth: false,
      deferRender: true,
      order: [],
      pageLength: pageLength,
      lengthMenu: [10, 25, 50, 100, 500],
      language: words,
      paging: count > pageLength,
      layout: {
        top: function () { return bar; },
        topStart: "search",
        topEnd: { buttons: [exportButton(table, specs)] },
        bottomStart: count > pageLength ? ["info", "pageLength"] : "info",
        bottomEnd: "paging",
      },
      initComplete: function () {
        // The table scrolls inside its own frame; the page never does.
        var frame = element("div", "scroll");
        frame.tabIndex = 0;
        frame.setAttribute("role", "region");
        frame.setAttribute("aria-label", table.caption ? table.caption.textContent : "Table");
        table.parentNode.insertBefore(frame, table);
        frame.append(table);
        table.dataset.ready = "yes";
      },
    };
    if (source) {
      settings.data = source.rows;
      settings.columns = specs.map(column);
    }
    var api = new DataTable(table, settings);
    if (source) addFilters(api, specs, bar, table);
    else addCellFilters(api, bar, table);
    if (!bar.children.length) (bar.closest(".dt-layout-row") || bar).remove();
  }

  document.querySelectorAll("table.data").forEach(enhance);
})();
