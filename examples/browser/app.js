// The two computations of the page. What differs is in `Factorial` and `Product`.
import { Call } from "./call.js";

const SERVICE = "forebay.compute.v1.ComputeService";

/** A form, its progress and its result; the call that runs is kept for the time of the tab. */
class Computation {
  constructor(section, method) {
    this.section = section;
    this.method = `${SERVICE}/${method}`;
    this.kept = `call of ${method}`;
    this.form = section.querySelector("form");
    this.bar = section.querySelector("progress");
    this.status = section.querySelector("[role=status]");
    this.stop = section.querySelector("[data-cancel]");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.follow(crypto.randomUUID(), this.request(new FormData(this.form)));
    });
    this.stop.addEventListener("click", () => this.call.cancel());
    const id = sessionStorage.getItem(this.kept);
    if (id !== null) this.follow(id, null);
  }

  follow(id, request) {
    this.call?.events.close();
    sessionStorage.setItem(this.kept, id);
    this.bar.value = 0;
    this.status.textContent = "Waiting for a worker";
    this.stop.disabled = false;
    this.clear();
    this.call = new Call(this.method, id, request, {
      onResponse: (response) => {
        if (response.progress) {
          this.bar.value = response.progress.fraction ?? 0;
          this.status.textContent = `Computing: ${response.progress.stage ?? ""}`;
        } else {
          this.take(response);
        }
      },
      onEnd: (error) => {
        this.stop.disabled = true;
        sessionStorage.removeItem(this.kept);
        this.status.textContent = error === null ? this.summary() : error.message;
        if (error === null) this.bar.value = 1;
      },
    });
  }
}

class Factorial extends Computation {
  request(form) {
    return { n: form.get("n") };
  }

  clear() {
    this.parts = [];
    this.section.querySelector("output").textContent = "";
  }

  take({ digits }) {
    if (digits) this.parts.push(digits);
  }

  summary() {
    const text = this.parts.join("");
    this.section.querySelector("output").textContent = text;
    return `${text.length} digits`;
  }
}

class Product extends Computation {
  request(form) {
    const random = { m: form.get("m"), n: form.get("n"), seed: form.get("seed"), format: "PRODUCT_FORMAT_VALUES" };
    return { random };
  }

  clear() {
    this.values = [];
  }

  take({ header, panel }) {
    if (header) this.shape = [Number(header.rows), Number(header.cols)];
    if (panel) this.values.push(...panel.values);
  }

  summary() {
    const [rows, columns] = this.shape;
    const canvas = this.section.querySelector("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const least = Math.min(...this.values);
    const range = Math.max(...this.values) - least || 1;
    const image = new ImageData(columns, rows);
    this.values.forEach((value, index) => {
      const shade = 255 - Math.round((255 * (value - least)) / range);
      image.data.set([shade, shade, 255, 255], 4 * index);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return `${rows} × ${columns} entries, from ${least.toFixed(2)} to ${(least + range).toFixed(2)}`;
  }
}

new Factorial(document.querySelector("#factorial"), "Factorial");
new Product(document.querySelector("#product"), "MatMul");
