// The search runs in a worker, which browsers refuse to a page that is opened from a folder. There, a hidden frame does the
// worker's job: it loads the script, and both sides call each other's listeners.
window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    const frame = document.body.appendChild(document.createElement("iframe"));
    frame.hidden = true;
    this.inside = frame.contentWindow;
    this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    this.inside.importScripts = (...urls) =>
      urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve());
    this.loaded = this.load(url);
  }
  load(url) {
    return new Promise((resolve, reject) => {
      const script = this.inside.document.createElement("script");
      Object.assign(script, { src: url, onload: resolve, onerror: reject });
      this.inside.document.body.append(script);
    });
  }
  postMessage(data) {
    this.loaded.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })));
  }
};
if (location.protocol === "file:") window.Worker = window.IFrameWorker;
