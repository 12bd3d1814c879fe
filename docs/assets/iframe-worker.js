// A page that is opened from a disk may start no Worker, so its search could find nothing. Here a frame that nobody
// sees does a Worker's work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const within = this.frame.contentWindow;
      addEventListener("message", (event) => {
        if (event.source === within) this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      const script = (text) => `<script${text}<\/script>`;
      within.document.open();
      within.document.write(
        script(`>
          self.postMessage = (data) => parent.postMessage(data, "*");
          self.importScripts = (...urls) =>
            urls.reduce(
              (before, url) =>
                before.then(() => new Promise((resolve, reject) => {
                  const script = Object.assign(document.createElement("script"), { src: url });
                  Object.assign(script, { onload: resolve, onerror: reject });
                  document.body.append(script);
                })),
              Promise.resolve(),
            );`) + script(` src="${url}">`),
      );
      within.document.close();
      this.loaded = new Promise((resolve) => within.addEventListener("load", resolve)); // opening forgets listeners
    }

    postMessage(data) {
      this.loaded.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
