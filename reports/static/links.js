// The address of a page keeps what its tables show, after the #: sorting, search and filters, and the row that a link is
// about. Nothing leaves the page: what stands after the # is never sent anywhere.
(function () {
  "use strict";
  var tables = Array.from(document.querySelectorAll("table.data[id]"));
  var applying = false;

  function parsed() {
    var text = location.hash.slice(1);
    if (text.indexOf("=") < 0) return { row: decode(text), values: new URLSearchParams() };
    var values = new URLSearchParams(text);
    return { row: values.get("row") || "", values: values };
  }

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch (error) {
      return text; // no address of ours
    }
  }

  function selectsOf(table) {
    return Array.from(document.querySelectorAll("select[data-filter]")).filter(function (select) {
      return select.id === table.id + "-" + select.dataset.filter;
    });
  }

  // What an address calls a column: the name that it has in the CSV, else its title.
  function columnName(api, place) {
    var head = api.column(place).header();
    return head.dataset.export || head.textContent.trim();
  }

  function chosen(select) {
    return select.selectedIndex > 0 ? select.options[select.selectedIndex].textContent : "";
  }

  function remember() {
    if (applying) return;
    var values = new URLSearchParams();
    var found = parsed();
    tables.forEach(function (table) {
      var api = new DataTable.Api(table);
      var name = table.dataset.name;
      var order = api.order().filter(function (pair) {
        return pair[1];
      });
      if (order.length) values.set(name + ".sort", columnName(api, order[0][0]) + "," + order[0][1]);
      if (api.search()) values.set(name + ".search", api.search());
      selectsOf(table).forEach(function (select) {
        if (chosen(select)) values.set(name + "." + select.dataset.filter, chosen(select));
      });
    });
    var text = values.toString();
    if (text && found.row && document.getElementById(found.row)) values.set("row", found.row);
    var wanted = text ? "#" + values.toString() : found.row ? "#" + found.row : "";
    if (wanted === location.hash) return;
    try {
      history.replaceState(null, "", wanted || location.pathname + location.search);
    } catch (error) {
      // Where a browser forbids it for files, the view just has no address.
    }
  }

  function applyTo(table, values) {
    var api = new DataTable.Api(table);
    var name = table.dataset.name;
    var sort = values.get(name + ".sort") || "";
    var comma = sort.lastIndexOf(",");
    var place = api
      .columns()
      .indexes()
      .toArray()
      .findIndex(function (index) {
        return comma > 0 && columnName(api, index) === sort.slice(0, comma);
      });
    api.order(place < 0 ? [] : [[place, sort.slice(comma + 1) === "desc" ? "desc" : "asc"]]);
    api.search(values.get(name + ".search") || "");
    selectsOf(table).forEach(function (select) {
      var wanted = values.get(name + "." + select.dataset.filter) || "";
      var option = Array.from(select.options).findIndex(function (each) {
        return each.textContent === wanted;
      });
      select.selectedIndex = Math.max(0, option);
      select.dispatchEvent(new Event("change"));
    });
    api.draw();
  }

  // A row may be on another page of its table, or hidden by a search.
  function show(row) {
    document.querySelectorAll("tr.wanted").forEach(function (each) {
      each.classList.remove("wanted");
    });
    if (!row) return;
    tables.forEach(function (table) {
      var api = new DataTable.Api(table);
      var nodes = api.rows({ search: "applied", order: "applied" }).nodes().toArray();
      var place = nodes.findIndex(function (node) {
        return node.id === row;
      });
      if (place < 0) return;
      api.page(Math.floor(place / api.page.len())).draw("page");
      nodes[place].classList.add("wanted");
      nodes[place].scrollIntoView({ block: "center" });
    });
  }

  function apply() {
    var found = parsed();
    applying = true;
    try {
      tables.forEach(function (table) {
        applyTo(table, found.values);
      });
      show(found.row);
    } finally {
      applying = false;
    }
  }

  if (location.hash.length > 1) apply();
  tables.forEach(function (table) {
    new DataTable.Api(table).on("order search", remember);
  });
  addEventListener("hashchange", apply);
})();
