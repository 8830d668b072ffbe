// Search in pages opened from a folder: browsers refuse a Worker for file:// addresses, so its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      // In a worker, postMessage answers the page.
      this.inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      const script = this.inner.document.createElement("script");
      script.src = new URL(address, location.href).href;
      this.ready = new Promise((resolve) => (script.onload = resolve));
      this.inner.document.body.append(script);
    }

    async postMessage(data) {
      await this.ready;
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data: structuredClone(data) }));
    }
  };
  window.Worker = window.IFrameWorker;
}
